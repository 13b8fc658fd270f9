//! What vendors issue, each under a prefix of its own.
//!
//! The prefix alone proves nothing: so many characters of the right kind must stand behind it, and then none. Lengths
//! are those that the vendor names, or less where it warns that they may grow.

/// What a vendor issues: a prefix, then so many characters of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) prefix: &'static str,
    /// Characters behind the prefix: at least, at most.
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) of: Of,
}

/// What it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Lower-case hexadecimal digits.
    Hex,
    /// Capitals and digits.
    Capitals,
    /// Letters and digits.
    Letters,
    /// Letters, digits, `_`.
    Word,
    /// Letters, digits, `_`, `-`: base64 for URLs.
    Url,
    /// The same and `.`.
    Dotted,
    /// As `Url`, but of all cases: `sk-learn-user-guide` is none.
    Mixed,
}

const fn issued(prefix: &'static str, min: usize, max: usize, of: Of) -> Issued {
    Issued { prefix, min, max, of }
}

/// A longer run is no token any more.
const LONG: usize = 512;

pub(super) static ISSUED: [Issued; 67] = [
    // AWS
    issued("AKIA", 16, 16, Of::Capitals),
    issued("ASIA", 16, 16, Of::Capitals),
    issued("ABIA", 16, 16, Of::Capitals),
    issued("ACCA", 16, 16, Of::Capitals),
    // GitHub
    issued("ghp_", 30, 255, Of::Letters),
    issued("gho_", 30, 255, Of::Letters),
    issued("ghu_", 30, 255, Of::Letters),
    issued("ghs_", 30, 255, Of::Letters),
    issued("ghr_", 30, 255, Of::Letters),
    issued("github_pat_", 22, 255, Of::Word),
    // GitLab
    issued("glpat-", 20, LONG, Of::Dotted),
    issued("gldt-", 20, LONG, Of::Dotted),
    issued("glrt-", 20, LONG, Of::Dotted),
    issued("glcbt-", 20, LONG, Of::Dotted),
    issued("glptt-", 20, LONG, Of::Dotted),
    issued("glft-", 20, LONG, Of::Dotted),
    issued("glimt-", 20, LONG, Of::Dotted),
    issued("gloas-", 20, LONG, Of::Dotted),
    issued("glsoat-", 20, LONG, Of::Dotted),
    issued("glagent-", 20, LONG, Of::Dotted),
    // Slack
    issued("xoxa-", 10, LONG, Of::Url),
    issued("xoxb-", 10, LONG, Of::Url),
    issued("xoxp-", 10, LONG, Of::Url),
    issued("xoxr-", 10, LONG, Of::Url),
    issued("xoxs-", 10, LONG, Of::Url),
    issued("xoxe-", 10, LONG, Of::Url),
    issued("xoxe.", 10, LONG, Of::Dotted),
    issued("xapp-", 10, LONG, Of::Url),
    // Google
    issued("AIza", 35, 35, Of::Url),
    issued("ya29.", 20, LONG, Of::Url),
    issued("GOCSPX-", 20, LONG, Of::Url),
    // Stripe; its publishable keys, `pk_`, are public
    issued("sk_live_", 10, LONG, Of::Letters),
    issued("sk_test_", 10, LONG, Of::Letters),
    issued("rk_live_", 10, LONG, Of::Letters),
    issued("rk_test_", 10, LONG, Of::Letters),
    issued("whsec_", 16, LONG, Of::Letters),
    // package registries
    issued("npm_", 36, 36, Of::Letters),
    issued("pypi-AgE", 50, LONG, Of::Url),
    issued("rubygems_", 48, 48, Of::Hex),
    issued("dckr_pat_", 20, LONG, Of::Url),
    // Twilio, SendGrid, Mailgun
    issued("SK", 32, 32, Of::Hex),
    issued("SG.", 60, 80, Of::Dotted),
    issued("key-", 32, 32, Of::Hex),
    // models
    issued("sk-", 20, LONG, Of::Mixed),
    issued("hf_", 30, 64, Of::Letters),
    // clouds and tools
    issued("dop_v1_", 64, 64, Of::Hex),
    issued("doo_v1_", 64, 64, Of::Hex),
    issued("dor_v1_", 64, 64, Of::Hex),
    issued("hvs.", 24, LONG, Of::Url),
    issued("hvb.", 24, LONG, Of::Url),
    issued("hvr.", 24, LONG, Of::Url),
    issued("dapi", 32, 32, Of::Hex),
    issued("glc_", 32, LONG, Of::Url),
    issued("glsa_", 32, LONG, Of::Word),
    issued("NRAK-", 27, 27, Of::Capitals),
    issued("shpat_", 32, 32, Of::Letters),
    issued("shpss_", 32, 32, Of::Letters),
    issued("shpca_", 32, 32, Of::Letters),
    issued("shppa_", 32, 32, Of::Letters),
    issued("sq0atp-", 22, 64, Of::Url),
    issued("sq0csp-", 43, 64, Of::Url),
    issued("ATATT3", 60, LONG, Of::Url),
    issued("lin_api_", 32, 64, Of::Letters),
    issued("sntrys_", 40, LONG, Of::Url),
    issued("LTAI", 12, 24, Of::Letters),
    issued("PMAK-", 40, 64, Of::Url),
    issued("AGE-SECRET-KEY-1", 58, 58, Of::Capitals),
];

impl Of {
    pub(super) fn accepts(self, b: u8) -> bool {
        match self {
            Of::Hex => b.is_ascii_digit() || matches!(b, b'a'..=b'f'),
            Of::Capitals => b.is_ascii_digit() || b.is_ascii_uppercase(),
            Of::Letters => b.is_ascii_alphanumeric(),
            Of::Word => b.is_ascii_alphanumeric() || b == b'_',
            Of::Url | Of::Mixed => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
            Of::Dotted => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'),
        }
    }

    /// What it needs beyond that.
    pub(super) fn holds(self, text: &str) -> bool {
        let digit = text.contains(|c: char| c.is_ascii_digit());
        match self {
            Of::Mixed => digit && (text.contains(|c: char| c.is_ascii_uppercase()) || !text.contains('-')),
            Of::Url | Of::Dotted | Of::Letters | Of::Word => digit,
            Of::Hex | Of::Capitals => true,
        }
    }
}

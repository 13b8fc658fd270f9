//! How rare a few bytes are in logs: what lets a rule be looked for by its rarest part.
//!
//! The numbers are the frequencies of pairs of bytes in system and application logs, with case folded, digits
//! taken as one, and all that is not in [`CLASSES`] as another. They need not be right, only roughly ordered: a bad
//! guess costs time and never a hit.

/// The byte classes, in the order of the rows of [`PAIRS`]; `0` stands for every digit, `<` also for `>`. What is
/// left is the last row.
const CLASSES: &[u8; 41] = b"abcdefghijklmnopqrstuvwxyz0 .,:;-/=()<\"'_";

/// Row: first byte; column: second. `0` + n says that this pair is 2^(-(n + 6) / 2) of all pairs.
#[rustfmt::skip]
const PAIRS: [&[u8; 42]; 42] = [
    b"B>;;AD<H=MC:<:I<K<<9?AFCBK<A@LEP=CMKKMPNCC",
    b">CCAACDK=FH=FA>ENA>G@EJE?L<DEGIHBERMCMNOEC",
    b";?@@;EM<DO;>F?:CJA@<>BLGDO<>CK?KBCNPJONKI@",
    b"<>B?:?HH?GHB?A>GO@?H>GBQEO;:AB?O>D@AHMLK@=",
    b"=>:9?BDJ?JI>=:E>@8:;B?@=EN=9<@>C>A@GFBJJA>",
    b"=AFF@BNK>OMDKK:LM??BBPNOIO?@HMGN@DGILMPNNB",
    b"BHDH;LFA@LKAC@@FOACIAMNNJEF=>GDNBFGNIJKLJB",
    b"=GD?<GNM?O?KGJ>JM>K?BOHQIOC?GMHPIMKNDINMCA",
    b"@===>?>HNNJ<=8<AL><;K>LAP@FB@LDOFINONLLMCA",
    b"DLKHFOOJLOBKKMEKLKGL>HKNNN?LLMPPKRGQJLPOMC",
    b"?AKJ;KHKCMOGDELLPICJIEPOLOC>@L@NBGFQJJNO@A",
    b">GC?:AFL;K@<LF;GKF?AAAKJBJD<DFCMCGDNGNKNG?",
    b"<@@>;KHN>NND@F>=OK@IBKIJEQ>>?KAQGBGNKJLN@A",
    b"=F?;:;<J<HBFC>;ANC=;B@IABM<:AH@KCBFFJMJEGA",
    b"AD<=G@>IBJA?;9=>N8><==??HNF:FKIOIKFPOLQOJB",
    b"<GA?>KEC?JH>GJ>>L<?>?JKNBOFB?IEQGBJHLMLNAC",
    b"NNOONNONMOOHJPNLFOKK?OONONGJHKKOAMNMLNNPPC",
    b"<A?>9C@C>O>D?=:DK=?>=>NK?O>;AF=M@BAJJMLMC=",
    b"?A?C:EB==L@@CB??H?<9>I@K>AB:?D?EA@@JEMHLD?",
    b"9@@F9GH;:NGBEF;>M=?==JCH?NC:?B@L@CAAEKLKAA",
    b"CCAB@I@A?OJ=?<A?N=<<KKRIOM>D@LKNHNNHQMMLQC",
    b"=PFP<OKP=PNKEJGLPMEJKPBPOOA@DPDOJLMGOLNONB",
    b">NJG?MMC?OGGFD>ONI@KLFELNPIBGLDRMKNPKNPOJC",
    b"GJBI?IONEOLMAFNCOHJAKNOG@L?FELHQJNNDCNNROB",
    b"GIGJCKJMEMOKDBCCNH??GLLNMOH=@HENEFALJNMOKB",
    b"MONM@NOMINQLLNGRNMOOLPPLMMH@KOPOMQQMNMQQNB",
    b"==;=<=GIHHGHGDIIIHHFAHH@II046;6G6<HH@EBG=8",
    b":;9;=:>>9@?;=;<;D:9:=A<FDJ57EJDN;>?>IABFH;",
    b">E=A>BC>@GK@ADBBHBACEBAFIJ6?ALNPALQPKKMLN@",
    b"EEMPLNQNJJNMEJMGNNMKGPDPPQ>;QMOMMQMQPNPROC",
    b">JFIIFJMI?MIDGKHBOGJNLJOOH69OPDQEDOQPMPONB",
    b"ORPPPPOMONNNOPQQPNOMOPPPQPIANNPLONNNOMONOB",
    b">A=ADDGGBFJF??GBJH@G?JIJMO7;OQNO=KPNJIQPP9",
    b"BCAACHACEEMCBEGDME?GCADCLN<IINONLDQLKMNNDB",
    b"IOGMNDLKIPNNLDMLNBEENQLPNM<>NOOQFLAKQGIOQB",
    b"HKGIGLLGILLGGFJCLJCCGJKOMNAHMSORNGPO@MJPPC",
    b"NMONQPMMOOONPRNQPNMNNRQQPOH>EECFAJMOJJPOR@",
    b"KLLKMLKKJLKMGBJMLMLKNNOMOLECKLLLHJLKNFKNN@",
    b"KNJLOPCKNLPNMOOHNMNKLQOOPNIBIHNKKNRMJKQNNC",
    b"JOKNMQNNLPQNNOQONMIENLOPQNHILNILKNNNPMOMMC",
    b"EDBEBDHHADDCAEJGOFABAKJPMM<LLPONBMPQQNPPIC",
    b"AAA>ABBA@>B@@>A@B>>?BBBCCC7:BC=C=ACCBACCC6",
];

/// What the folded byte costs to look up: its class.
const CLASS_OF: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut of = [41; 256];
    let mut i = 0;
    while i < CLASSES.len() {
        of[(CLASSES[i] | 0x20) as usize] = i as u8;
        i += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        of[digit as usize] = 26;
        digit += 1;
    }
    of[b'>' as usize] = of[b'<' as usize];
    of
}

/// How often these folded bytes begin at a given place of a log, by a chain of pairs; between 0 and 1.
///
/// A byte outside ASCII is taken to be far rarer than the last row says: logs are ASCII, and the Kelvin sign that
/// `(?i)k` also accepts should not spoil a literal.
pub(super) fn probability(folded: &[u8]) -> f64 {
    let mut p = 1.0;
    let mut before: Option<usize> = None;
    for &b in folded {
        let class = usize::from(CLASS_OF[usize::from(b)]);
        p *= match before {
            None => CHANCE.single[class],
            Some(a) => CHANCE.pair[a][class],
        };
        if !b.is_ascii() {
            p /= 64.0;
        } else if class == 26 {
            // a certain digit, of ten
            p /= 10.0;
        } else if class == 41 {
            p /= 16.0;
        }
        before = Some(class);
    }
    p
}

struct Chance {
    single: [f64; 42],
    /// Of the second, given the first.
    pair: [[f64; 42]; 42],
}

static CHANCE: std::sync::LazyLock<Chance> = std::sync::LazyLock::new(|| {
    let joint = PAIRS.map(|row| row.map(|c| (-0.5 * f64::from(c - b'0' + 6)).exp2()));
    let single = joint.map(|row| row.iter().sum());
    let mut pair = joint;
    for (row, sum) in pair.iter_mut().zip(single) {
        for p in row {
            *p /= sum;
        }
    }
    Chance { single, pair }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rare_in_logs_is_held_to_be_rare() {
        let p = |s: &str| {
            let folded: Vec<u8> = s.bytes().map(|b| b | 0x20).collect();
            probability(&folded)
        };
        assert!(p("oomk") < p("info"));
        assert!(p("xfs_") < p("tion"));
        assert!(p("failed pa") < p("fail"));
        assert!(p("\u{212a}") < 1e-5);
        assert!(p("") > 0.99 && p("a") < 0.2);
    }
}

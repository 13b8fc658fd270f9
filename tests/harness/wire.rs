//! What stands between the agent and Chat in a network of our own: a name server, TLS, a proxy.
//!
//! A test that wants such a network runs once more in a process of its own (`unshare`), which has nothing but a loopback
//! device, and for whose programs `chat.googleapis.com` is what our name server says. What it starts here ends with it. The
//! certificates in `tls/` are of an authority that nobody trusts who was not told to, and their key opens nothing.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Set for the process that has a network of its own.
const OWN: &str = "LOGHERALD_NETWORK";

/// What goes to the two addresses comes nowhere, and nobody says so; what goes elsewhere has no way.
const NETWORK: &str = "ip link set lo up
ip route add 10.9.9.9 dev lo
ip -6 route add 2001:db8::1 dev lo
for file in hosts resolv.conf nsswitch.conf; do mount --bind \"$1/$file\" \"/etc/$file\"; done
shift
exec \"$@\"";

/// Runs the test of this name in a network of its own; true where this is that run already, which alone has anything to do.
/// Where the machine does not allow it the test is skipped out loud.
pub(crate) fn in_a_network_of_its_own(name: &str) -> bool {
    if std::env::var_os(OWN).is_some() {
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    fs::write(dir.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let run = |what: &[&str]| {
        let root = rustix::process::getuid().is_root();
        let flags: &[&str] =
            if root { &["--net", "--mount"] } else { &["--net", "--mount", "--map-root-user"] };
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-ec", NETWORK, "sh"]).arg(dir.path()).args(what).env(OWN, "1");
        command.output()
    };
    match run(&["true"]) {
        Ok(out) if out.status.success() => {}
        why => {
            println!("SKIPPED: this machine does not let us have a network of our own: {why:?}");
            return false;
        }
    }
    let own = std::env::current_exe().unwrap();
    let out = run(&[own.to_str().unwrap(), "--exact", name, "--nocapture"]).unwrap();
    let (said, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}\n{why}");
    let told = said.lines().filter(|line| line.contains("measured: ") || line.contains("SKIPPED: "));
    told.for_each(|line| println!("{line}"));
    false
}

/// From now on so many of a hundred packets are lost in our own network, whichever way they go; false where the kernel cannot.
///
/// A filter of eight bytes an instruction: load a random number; above the bound, pass; else drop.
pub(crate) fn loses(of_a_hundred: u64) -> bool {
    let bound = u64::from(u32::MAX) * of_a_hundred / 100;
    let filter = format!("4,32 0 0 4294963256,37 0 1 {bound},6 0 0 0,6 0 0 2");
    let tc = |args: &[&str]| Command::new("tc").args(args).output();
    // the first is there already when this is asked again
    _ = tc(&["qdisc", "add", "dev", "lo", "clsact"]);
    _ = tc(&["filter", "del", "dev", "lo", "ingress"]);
    if of_a_hundred == 0 {
        return true;
    }
    let add = ["filter", "add", "dev", "lo", "ingress", "bpf", "direct-action", "bytecode", &filter];
    let done = tc(&add);
    let can = done.as_ref().is_ok_and(|out| out.status.success());
    if !can {
        println!("SKIPPED: this machine cannot lose packets: {done:?}");
    }
    can
}

/// How many packets were lost so far.
pub(crate) fn lost() -> u64 {
    let out = Command::new("tc").args(["-s", "qdisc", "show", "dev", "lo"]).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let counts =
        said.split("(dropped ").skip(1).filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok());
    counts.sum()
}

/// A file in `tls/`.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/tls").join(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server lives beside a test that has no runtime, and ends with its process"
)]
fn beside(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// What a name server says, whatever it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// These addresses: the first of either sort.
    Addresses(&'static [&'static str]),
    /// The same, after so long, or once it is told to say something else.
    Late(Duration, &'static [&'static str]),
}

/// The name server of a network of our own.
pub(crate) struct Names(Arc<(Mutex<Says>, Condvar)>);

impl Names {
    pub(crate) fn serve(says: Says) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let told = Arc::new((Mutex::new(says), Condvar::new()));
        let says = told.clone();
        beside(move || {
            let mut question = [0; 512];
            while let Ok((n, from)) = socket.recv_from(&mut question) {
                let (says, other) = &*says;
                let mut says = says.lock().unwrap();
                if let Says::Late(time, _) = *says {
                    let late = |says: &mut Says| matches!(says, Says::Late(..));
                    says = other.wait_timeout_while(says, time, late).unwrap().0;
                }
                let says = *says;
                // whoever asked may have gone
                _ = socket.send_to(&answer(&question[..n], says), from);
            }
        });
        Names(told)
    }

    /// From now on it says this.
    pub(crate) fn say(&self, says: Says) {
        *self.0.0.lock().unwrap() = says;
        self.0.1.notify_all();
    }
}

/// An answer to a question of one name: its header, the question, and perhaps one address that is good for no time.
fn answer(question: &[u8], says: Says) -> Vec<u8> {
    let name = question[12..].iter().position(|b| *b == 0).unwrap() + 13;
    let wants_v6 = question[name..name + 2] == [0, 28];
    let (code, addresses) = match says {
        Says::NoSuchName => (3, &[][..]),
        Says::Failure => (2, &[][..]),
        Says::Addresses(all) | Says::Late(_, all) => (0, all),
    };
    let mut addresses = addresses.iter().map(|a| a.parse::<IpAddr>().unwrap());
    let address = addresses.find(|a| a.is_ipv6() == wants_v6);
    let mut out = question[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    out.extend(&question[12..name + 4]);
    if let Some(address) = address {
        let bytes = match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        out.extend([0xc0, 12]);
        out.extend(&question[name..name + 4]);
        out.extend([0, 0, 0, 0, 0, bytes.len() as u8]);
        out.extend(bytes);
    }
    out
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Speaks TLS with the certificate of this name in `tls/`, and passes what is said on to what lies behind it.
    Serves(&'static str),
    /// Resets it as soon as TLS says hello.
    Resets,
    /// A proxy: passes it on.
    Passes,
    /// A proxy: says this.
    Says(&'static str),
    /// A proxy: lets go of it.
    Dies,
}

/// A server at a fixed address, with something behind it.
pub(crate) struct Front(Arc<Mutex<Does>>);

impl Front {
    pub(crate) fn serve(at: &str, behind: SocketAddr, does: Does) -> Front {
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let told = Arc::new(Mutex::new(does));
        let does = told.clone();
        beside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let does = *does.lock().unwrap();
                    // a connection that fails is what is wanted
                    connections.spawn(async move { drop(connection(stream, behind, does).await) });
                }
            });
        });
        Front(told)
    }

    /// From now on it does this.
    pub(crate) fn does(&self, does: Does) {
        *self.0.lock().unwrap() = does;
    }
}

async fn connection(mut stream: TcpStream, behind: SocketAddr, does: Does) -> std::io::Result<()> {
    match does {
        Does::Serves(certificate) => {
            let mut stream = acceptor(certificate).accept(stream).await?;
            copy_bidirectional(&mut stream, &mut TcpStream::connect(behind).await?).await?;
        }
        Does::Resets => {
            stream.read_u8().await?;
            stream.set_zero_linger()?;
        }
        Does::Passes => {
            head(&mut stream).await?;
            let mut there = TcpStream::connect(behind).await?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut there).await?;
        }
        Does::Says(answer) => {
            head(&mut stream).await?;
            stream.write_all(answer.as_bytes()).await?;
        }
        Does::Dies => head(&mut stream).await?,
    }
    Ok(())
}

async fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await?);
    }
    Ok(())
}

fn acceptor(certificate: &str) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(tls_file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
    TlsAcceptor::from(Arc::new(
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap(),
    ))
}

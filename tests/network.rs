//! The whole program in a network that has a bad day: names, routes, TLS, a proxy, a link that flaps, packets that are lost.
//! Is each trouble told by its name, and every hit once when it is over?

use std::process::Command;
use std::time::Duration;

use crate::crash::each_once;
use crate::end_to_end::hits_told;
use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{DEADLINE, Place, have, term};
use crate::harness::wire::{Does, Front, Names, Says, in_a_network_of_its_own, loses, lost, tls_file};

const HERE: &[&str] = &["127.0.0.1"];
const GOOD: Does = Does::Serves("good.pem");

/// Chat as the agent knows it, behind TLS and its name.
struct Net {
    chat: FakeChat,
    names: Names,
    door: Front,
}

impl Net {
    fn new() -> Net {
        let chat = FakeChat::start();
        let behind = chat.base_url().trim_start_matches("http://").parse().unwrap();
        Net {
            chat,
            names: Names::serve(Says::Addresses(HERE)),
            door: Front::serve("127.0.0.1:443", behind, GOOD),
        }
    }

    fn place(&self) -> Place {
        let url = self.chat.webhook_url("OPS").replace(&self.chat.base_url(), "https://chat.googleapis.com");
        let place = Place::new().env("HOOK", &url).env("SSL_CERT_FILE", tls_file("ca.pem").to_str().unwrap());
        place.rules(
            "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '0s'\nmax_per_hour = 3600\n[[rule]]\nname = 'trouble'\n\
             files = ['DIR/app.log']\nmatch = 'trouble (?<n>\\d+)'\nby = ['n']\nmax_per_hour = 3600\n",
        );
        place.append("app.log", "this line was there before\n");
        place
    }

    /// One line hits; a try of it comes to `why`, and when it is `mended` it is told. Nobody waits longer than for the
    /// next try.
    fn trouble(&self, place: &Place, why: &str, mend: Option<&dyn Fn()>) {
        let told = self.chat.messages("OPS").len();
        let mut agent = place.start();
        place.append("app.log", "trouble 1\n");
        if !why.is_empty() {
            let line = agent.wait_for_log("not delivered yet");
            assert!(line.contains(why) && !line.contains("key="), "{line}");
        }
        let Some(mend) = mend else { return agent.kill() };
        mend();
        self.chat.wait_for(told + 1, DEADLINE);
        agent.wait_for_status("the hit to be told", |s| term(s, "trouble", "shown") == 1);
        assert_eq!(agent.stop(), 0);
        each_once_of(&self.chat, told + 1);
    }
}

/// Each hit was told once, in as many messages.
fn each_once_of(chat: &FakeChat, messages: usize) {
    assert_eq!(chat.violations(), Vec::<String>::new());
    assert_eq!((chat.messages("OPS").len(), hits_told(&chat.messages("OPS"))), (messages, messages as u64));
}

#[test]
fn names_routes_tls_and_proxies_that_fail_are_named_and_what_they_held_up_is_told() {
    if !have("unshare")
        || !in_a_network_of_its_own(
            "network::names_routes_tls_and_proxies_that_fail_are_named_and_what_they_held_up_is_told",
        )
    {
        return;
    }
    let net = Net::new();
    let well = || {
        net.names.say(Says::Addresses(HERE));
        net.door.does(GOOD);
    };
    let mend: Option<&dyn Fn()> = Some(&well);
    // nothing is wrong, however late the name is known, and though one of its two addresses is nowhere
    net.trouble(&net.place(), "", mend);
    net.names.say(Says::Late(Duration::from_millis(1500), HERE));
    net.trouble(&net.place(), "", mend);
    net.names.say(Says::Addresses(&["2001:db8::1", "127.0.0.1"]));
    net.trouble(&net.place(), "", Some(&|| ()));

    let unknown = "`chat.googleapis.com` cannot be resolved";
    for (says, why) in [
        (Says::NoSuchName, unknown),
        (Says::Failure, unknown),
        (Says::Addresses(&["127.0.0.2"]), "no connection to `chat.googleapis.com`: Connection refused"),
        (Says::Addresses(&["10.8.8.8"]), "no connection to `chat.googleapis.com`: Network is unreachable"),
        (Says::Addresses(&["2001:db8::1", "10.9.9.9"]), "no connection to `chat.googleapis.com` within 10 s"),
    ] {
        net.names.say(says);
        net.trouble(&net.place(), why, mend);
    }
    well();
    net.door.does(Does::Resets);
    net.trouble(&net.place(), "no connection to `chat.googleapis.com`", mend);
    net.door.does(Does::Serves("other.pem"));
    net.trouble(&net.place(), "`chat.googleapis.com` cannot be trusted", None);
    well();
    let nobody = net.place().env("SSL_CERT_FILE", tls_file("other.pem").to_str().unwrap());
    net.trouble(&nobody, "`chat.googleapis.com` cannot be trusted", None);

    let proxy = Front::serve("127.0.0.1:3128", "127.0.0.1:443".parse().unwrap(), Does::Passes);
    // and nothing is known of Chat but to the proxy
    net.names.say(Says::NoSuchName);
    let behind = || net.place().env("HTTPS_PROXY", "http://127.0.0.1:3128");
    net.trouble(&behind(), "", Some(&|| ()));
    proxy.does(Does::Dies);
    net.trouble(&behind(), "no connection to `chat.googleapis.com`", Some(&|| proxy.does(Does::Passes)));
    proxy.does(Does::Says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    net.trouble(&behind(), "the proxy does not let us through", None);
    each_once(&net.chat);
}

/// How often the link goes down; `.ci/long` has ten minutes of it.
fn flaps() -> u64 {
    std::env::var("LOGHERALD_LOAD_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

#[test]
fn through_a_link_that_flaps_every_hit_is_told_once() {
    if !have("unshare")
        || !in_a_network_of_its_own("network::through_a_link_that_flaps_every_hit_is_told_once")
    {
        return;
    }
    let net = Net::new();
    let place = net.place();
    let mut agent = place.start();
    let link = |state: &str| {
        assert!(Command::new("ip").args(["link", "set", "lo", state]).status().unwrap().success());
    };
    for n in 0..flaps() {
        place.append("app.log", &format!("trouble {n}\n"));
        link("down");
        agent.live(Duration::from_millis(500));
        link("up");
        agent.live(Duration::from_millis(500));
    }
    let status = agent.wait_for_status("every hit to be told", |s| {
        term(s, "trouble", "hits") == flaps() && term(s, "trouble", "pending") == 0
    });
    let messages = net.chat.messages("OPS");
    let again = messages.iter().filter(|m| m.times > 1).count();
    println!(
        "measured: network: a link that went down {} times, {} messages, {again} came again",
        flaps(),
        messages.len()
    );
    assert_eq!((hits_told(&messages), term(&status, "trouble", "lost")), (flaps(), 0));
    each_once(&net.chat);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn through_a_network_that_loses_one_packet_in_five_every_hit_is_told_once() {
    const HITS: u64 = 10;
    if !have("unshare")
        || !in_a_network_of_its_own(
            "network::through_a_network_that_loses_one_packet_in_five_every_hit_is_told_once",
        )
    {
        return;
    }
    let net = Net::new();
    let place = net.place();
    let mut agent = place.start();
    if !loses(20) {
        return agent.kill();
    }
    for n in 0..HITS {
        place.append("app.log", &format!("trouble {n}\n"));
        agent.live(Duration::from_millis(500));
    }
    // of names, of TCP and of TLS alike
    net.chat.wait_for(HITS as usize / 2, DEADLINE);
    let missed = lost();
    assert!(missed > 0, "none was lost");
    loses(0);
    let status = agent.wait_for_status("every hit to be told", |s| {
        term(s, "trouble", "hits") == HITS && term(s, "trouble", "pending") == 0
    });
    let messages = net.chat.messages("OPS");
    let again = messages.iter().filter(|m| m.times > 1).count();
    println!("measured: network: {missed} packets lost, {} messages, {again} came again", messages.len());
    assert_eq!((hits_told(&messages), term(&status, "trouble", "lost")), (HITS, 0));
    each_once(&net.chat);
    assert_eq!(agent.stop(), 0);
}

//! `update = "edit"` in the running agent, against a server that lets an app change what is its own, and nothing else.

use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{DEADLINE, Place, term};

const RULES: &str = "[space.ops]\nname = 'spaces/OPS'\nservice_account = { file = 'DIR/key.json' }\nwait = '100ms'\n\
                     update = 'edit'\n[[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\n\
                     match = 'trouble'\nresolve = 'all is well'\nquiet = '1h'\n";

#[test]
fn an_incident_is_one_message_through_a_kill_and_is_made_anew_when_somebody_deletes_it() {
    let chat = FakeChat::start();
    chat.add_space("OPS");
    let place = Place::new();
    chat.key_file(&place.path(""));
    place.rules(&format!("{RULES}\n[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    let agent = place.start();
    place.append("app.log", "trouble 1\n");
    let opening = chat.wait_for(1, DEADLINE)[0].clone();
    place.append("app.log", "trouble 2\ntrouble 3\n");
    chat.wait_until(DEADLINE, "a live count", |m| m[0].hits() == 3);
    place.append("app.log", "trouble 4\n");
    // and what became of the edit is known, so that the next run knows when the space was last written to
    agent.wait_for_status("the hit to be judged", |s| {
        term(s, "trouble", "hits") == 4 && s["spaces"]["ops"]["outbox"] == 0
    });
    agent.kill();

    let agent = place.start();
    let all = chat.wait_until(DEADLINE, "an edit of the next run", |m| m[0].hits() == 4);
    assert_eq!(all.len(), 1);
    chat.delete(&opening.id);
    place.append("app.log", "trouble 5\n");
    let all = chat.wait_until(DEADLINE, "a message made anew", |m| m.len() == 2);
    assert_eq!((all[1].hits(), &all[1].thread), (5, &opening.thread), "all of it, in its thread");
    assert_ne!(all[1].id, opening.id);
    place.append("app.log", "all is well\n");
    let all = chat.wait_until(DEADLINE, "its end", |m| m[1].shown().contains("resolved after"));
    assert!(all.len() == 2 && all[1].shown().contains("trouble · resolved"), "{}", all[1].shown());
    let status = agent.wait_for_status("every hit to be told", |s| term(s, "trouble", "pending") == 0);
    assert_eq!((term(&status, "trouble", "shown"), term(&status, "trouble", "told")), (1, 4));
    assert_eq!((chat.violations(), chat.attempts().iter().filter(|a| a.status == 429).count()), (vec![], 0));
    assert_eq!(agent.stop(), 0);
}

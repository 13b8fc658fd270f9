//! What was written, rotated and destroyed while no agent ran?

use std::fs;
use std::time::Duration;

use logherald::line::PositionKey;

use super::rig::{Reader, Rig, spec, stories};

stories! {
    fn restarted_in_the_middle_of_a_file_and_of_a_line(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        let text = rig.lines(1);
        let (head, tail) = text.split_at(7);
        rig.put("a.log", head.as_bytes());
        rig.hear();
        rig.pass(Duration::from_millis(2200));
        rig.stop();
        rig.put("a.log", tail.as_bytes());
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.backlog[1000..].iter().all(|&b| b));
        assert_eq!(rig.early, [(rig.expected[1000..].concat(), vec!["rule".to_owned()])], "hit once only");
    }

    fn killed_before_the_last_positions_were_kept(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let kept = rig.saved.clone();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.saved = kept;
        rig.got.truncate(10);
        rig.start();
        rig.settle();
    }

    fn killed_before_a_generation_was_kept_and_rotated_again(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let first: Vec<PositionKey> = rig.saved.keys().cloned().collect();
        let mut late = rig.open("a.log");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        rig.write(&mut late, 5);
        rig.settle_unordered();
        // of the new generation neither lines nor position were kept; the late lines of the old one were
        rig.stop();
        rig.forget_but(&first);
        let second = rig.expected[10..20].to_vec();
        rig.got.retain(|line| !second.contains(line));
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.start();
        rig.settle_unordered();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn killed_before_a_new_name_was_kept(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let first: Vec<PositionKey> = rig.saved.keys().cloned().collect();
        rig.append("b.log", 10);
        rig.settle();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.forget_but(&first);
        let lost = rig.expected[10..20].to_vec();
        rig.got.retain(|line| !lost.contains(line));
        rig.start();
        rig.settle_unordered();
    }

    fn the_end_is_kept_from_the_first_moment(rig) {
        let old = rig.unexpected(10);
        rig.put("a.log", old.as_bytes());
        rig.start();
        rig.stop();
        rig.append("a.log", 10);
        rig.start();
        rig.settle();
    }

    fn born_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.append("b.log", 10);
        rig.start();
        rig.settle();
    }

    fn rotated_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn rotated_three_times_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.2", "a.log.3");
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn copied_and_cut_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 500);
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.append("a.log", 3000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn gone_while_nobody_ran_is_a_gap(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        rig.put("a.log", b"nobody will ever read this\n");
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.append("a.log", 2000);
        rig.start();
        rig.settle();
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].bytes, None);
        assert_eq!(&*rig.gaps[0].file, rig.path("a.log").to_str().unwrap());
        assert_eq!(rig.saved.len(), 1);
    }

    fn rewritten_while_nobody_ran_is_a_gap(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        rig.truncate("a.log", 0);
        rig.append("a.log", 2000);
        rig.start();
        rig.settle();
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].why, "cut or rewritten while the agent was away");
    }

    fn without_birth_times_a_reused_inode_is_still_found_out(rig) {
        rig.options.birth_times = false;
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.append("a.log", 300);
        rig.start();
        rig.settle();
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 300);
        rig.settle();
    }

    fn a_reload_keeps_what_stays_and_remembers_what_goes(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.put("b.txt", b"was there before\n");
        rig.settle();
        let (now, wider) = (rig.now, vec![spec(0, "app", rig.dir.path(), &["*.log", "*.txt"])]);
        rig.tailer.as_mut().unwrap().reload(wider.clone(), now);
        rig.append("a.log", 5);
        rig.settle();
        rig.append("b.txt", 5);
        rig.settle();
        rig.tailer.as_mut().unwrap().reload(vec![spec(0, "app", rig.dir.path(), &["*.txt"])], now);
        rig.drain();
        rig.append("a.log", 5);
        rig.pass(Duration::from_secs(3));
        rig.tailer.as_mut().unwrap().reload(wider, now);
        rig.settle();
    }
}

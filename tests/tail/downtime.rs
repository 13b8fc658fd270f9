//! What was written, rotated and destroyed while no agent ran?

use std::fs::{self, File};
use std::time::Duration;

use logherald::line::{Place, Position, PositionKey};
use logherald::tail::Rung;

use super::rig::{Reader, Rig, Squeezed, compress, secs, spec, stories};

stories! {
    fn t30_rotated_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for n in (1..4).rev() {
            rig.stop();
            rig.append("a.log", 1000);
            rig.rename("a.log", &format!("a.log.{n}"));
            File::create_new(rig.path("a.log")).unwrap();
            rig.append("a.log", 1000);
            rig.start();
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t30_rotated_and_compressed_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for (n, how) in Squeezed::ALL.into_iter().enumerate() {
            rig.stop();
            rig.append("a.log", 1000);
            let rotated = format!("a.log-2026112{n}");
            rig.rename("a.log", &rotated);
            compress(&rig.path(&rotated), how);
            rig.append("a.log", 1000);
            rig.start();
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t30_many_generations_some_compressed_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for how in Squeezed::ALL {
            for n in 1..6 {
                for suffix in ["", how.suffix()] {
                    drop(fs::remove_file(rig.path(&format!("a.log.{n}{suffix}"))));
                }
            }
            rig.stop();
            for _ in 0..5 {
                rig.append("a.log", 1000);
                for n in (1..5).rev() {
                    for suffix in ["", how.suffix()] {
                        let (from, to) = (format!("a.log.{n}{suffix}"), format!("a.log.{}{suffix}", n + 1));
                        drop(fs::rename(rig.path(&from), rig.path(&to)));
                    }
                }
                // as with `delaycompress`: the newest stays plain
                if rig.path("a.log.2").exists() {
                    compress(&rig.path("a.log.2"), how);
                }
                rig.rename("a.log", "a.log.1");
                File::create_new(rig.path("a.log")).unwrap();
            }
            rig.append("a.log", 1000);
            rig.start();
            rig.settle();
        }
        rig.assert_quiet();
    }

    /// Whoever copies and cuts puts the copy on the disk in between, which may take long. An agent that starts then meets
    /// both, and what it read before lies in a copy of another day.
    fn started_between_the_copy_and_the_cut(rig) {
        copied_once_and_cut_and_copied_again(rig);
        rig.start();
        rig.settle();
        rig.truncate("a.log", 0);
        rig.append("a.log", 30);
        rig.settle();
        rig.assert_quiet();
    }

    /// The same, and it is cut before a byte of it was read: then the copy is all there is.
    fn started_between_the_copy_and_the_cut_that_follows_at_once(rig) {
        copied_once_and_cut_and_copied_again(rig);
        rig.start();
        rig.truncate("a.log", 0);
        rig.append("a.log", 30);
        rig.settle_unordered();
        rig.assert_quiet();
    }

    /// Where the rest lies is nowhere written down. It is found, or it is told that it was not.
    fn t30_moved_to_another_directory_while_nobody_ran(rig) {
        fs::create_dir(rig.path("old")).unwrap();
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        let before = rig.expected.len();
        rig.append("a.log", 1000);
        rig.rename("a.log", "old/a.log.1");
        rig.append("a.log", 1000);
        rig.start();
        rig.pass(secs(15));
        if rig.got.len() < rig.expected.len() {
            assert_eq!(rig.gaps.len(), 1, "{}", rig.missing());
            assert_eq!(&*rig.gaps[0].file, rig.path("a.log").to_str().unwrap());
            rig.expected.drain(before..before + 1000);
        }
        rig.settle();
    }

    fn t32_deleted_and_made_anew_with_the_same_head_while_nobody_ran(rig) {
        same_inode_same_head(rig);
    }

    fn t32_the_same_where_no_birth_time_tells(rig) {
        rig.options.birth_times = false;
        same_inode_same_head(rig);
    }

    fn t37_a_partial_line_at_the_stop_completed_before_the_start(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.put("a.log", b"abc");
        rig.hear();
        rig.stop();
        rig.put("a.log", b"def\n");
        rig.expect("abcdef\n");
        rig.start();
        rig.settle();
        assert!(rig.idle.is_empty());
        rig.assert_quiet();
    }

    fn t37_a_partial_line_that_was_matched_already(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        let text = rig.lines(1);
        let (head, tail) = text.split_at(7);
        rig.put("a.log", head.as_bytes());
        rig.hear();
        rig.meanwhile(Duration::from_millis(2200));
        rig.stop();
        rig.put("a.log", tail.as_bytes());
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.backlog[1000..].iter().all(|&b| b));
        if !rig.blocked() {
            assert_eq!(rig.early, [(rig.expected[1000..].concat(), vec!["rule".to_owned()])], "hit once only");
        }
    }
    fn t39_a_pattern_goes_and_comes_back(rig) {
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

    /// As after a reboot that numbered the disks anew.
    fn t40_the_device_has_another_number(rig) {
        moved_house(rig, |position| {
            let id = position.key.file.as_mut().unwrap();
            id.dev += 1;
        });
    }

    /// As when both were restored: other inodes, other birth times, the same bytes.
    fn t40_state_and_logs_were_copied_to_another_host(rig) {
        moved_house(rig, |position| {
            let Place::File(place) = &position.place else { unreachable!("only files are watched") };
            let copy = place.path.with_extension("copy");
            if place.path.exists() {
                fs::copy(&place.path, &copy).unwrap();
                fs::rename(&copy, &place.path).unwrap();
            }
            let id = position.key.file.as_mut().unwrap();
            (id.dev, id.ino, id.born) = (id.dev + 7, id.ino + 100_000, id.born.map(|b| b - 1_000_000_000));
        });
    }

    /// As when the state alone was: the logs there are others, and nothing of them was ever read.
    fn t40_the_state_alone_was_copied_to_another_host(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.remove("a.log");
        rig.append("a.log", 2000);
        rig.saved = rig
            .saved
            .values()
            .map(|p| {
                let mut p = p.clone();
                let id = p.key.file.as_mut().unwrap();
                (id.dev, id.ino, id.born) = (id.dev + 7, id.ino + 100_000, id.born.map(|b| b - 1_000_000_000));
                (p.key.clone(), p)
            })
            .collect();
        rig.start();
        rig.settle();
        assert_eq!(rig.gaps.len(), 1, "{:?}", rig.gaps);
    }

    fn a_log_shorter_than_its_position_after_a_power_cut(rig) {
        rig.start();
        for _ in 0..30 {
            rig.append("a.log", 100);
            rig.settle();
        }
        rig.stop();
        // The store was synced, the log was not: its last blocks are gone.
        let text = fs::read(rig.path("a.log")).unwrap();
        let upto = memchr::memrchr(b'\n', &text[..text.len() - 9_000]).unwrap() + 1;
        rig.truncate("a.log", upto as u64);
        if !rig.blocked() {
            rig.start();
            rig.pass(secs(3));
        }
        // Blocked, the daemons that write it were up before the agent was.
        rig.append("a.log", 10);
        if rig.blocked() {
            rig.start();
        }
        rig.settle();
    }

    /// The first copy proves the position; the later ones are whole generations of their own.
    fn t24_copied_and_cut_three_times_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        for n in 1..4 {
            rig.append("a.log", 500);
            fs::copy(rig.path("a.log"), rig.path(&format!("a.log-2026112{n}"))).unwrap();
            rig.truncate("a.log", 0);
        }
        rig.append("a.log", 3000);
        rig.start();
        rig.settle();
        rig.assert_quiet();
    }

    fn t24_copied_cut_and_compressed_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for (n, how) in Squeezed::ALL.into_iter().enumerate() {
            rig.stop();
            rig.append("a.log", 500);
            let copy = format!("a.log-2026112{n}");
            fs::copy(rig.path("a.log"), rig.path(&copy)).unwrap();
            rig.truncate("a.log", 0);
            compress(&rig.path(&copy), how);
            rig.append("a.log", 100);
            rig.start();
            rig.settle();
        }
        rig.assert_quiet();
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

    fn t30_rotated_three_times_while_nobody_ran(rig) {
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

    fn t24_copied_and_cut_while_nobody_ran(rig) {
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
        assert_eq!(rig.kept(), (1, 1));
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
}

/// On ext4 the second file has the inode of the first.
fn same_inode_same_head(rig: &mut Rig) {
    let head = format!("{}\n", "#".repeat(600));
    rig.start();
    rig.expect(&head);
    rig.put("a.log", head.as_bytes());
    rig.append("a.log", 5000);
    rig.settle();
    rig.stop();
    rig.remove("a.log");
    rig.expect(&head);
    rig.put("a.log", head.as_bytes());
    rig.append("a.log", 5000);
    rig.start();
    rig.settle();
    assert_eq!(rig.gaps.len(), 1, "whether the first was written to before it was deleted is not known");
}

/// The same bytes under another identity are read on where they were left.
fn moved_house(rig: &mut Rig, mut change: impl FnMut(&mut Position)) {
    rig.start();
    rig.append("a.log", 1000);
    rig.settle();
    rig.append("b.log", 1000);
    rig.settle();
    rig.stop();
    let mut positions: Vec<Position> = rig.saved.values().cloned().collect();
    for position in &mut positions {
        change(position);
    }
    rig.saved = positions.into_iter().map(|p| (p.key.clone(), p)).collect();
    rig.append("a.log", 10);
    rig.append("b.log", 10);
    rig.start();
    rig.settle_unordered();
    rig.assert_quiet();
    assert_eq!(rig.saved.len(), 2, "the old positions are done with");
}

/// While nobody ran; what was read before lies in the older copy.
fn copied_once_and_cut_and_copied_again(rig: &mut Rig) {
    let copied = |rig: &Rig| assert!(fs::copy(rig.path("a.log"), rig.path("a.log.1")).is_ok());
    rig.start();
    rig.append("a.log", 100);
    rig.settle();
    rig.stop();
    rig.append("a.log", 20);
    copied(rig);
    rig.truncate("a.log", 0);
    rig.append("a.log", 50);
    rig.rename("a.log.1", "a.log.2");
    copied(rig);
}

fn second(rig: &mut Rig) {
    rig.now = rig.now.plus(secs(1));
    rig.stamp();
}

/// What lay before it is read first, and takes long. It was met when it was empty, and has not had its turn when it is
/// an archive: nothing was read of it that could prove that.
#[test]
fn rotated_and_compressed_again_as_the_agent_starts() {
    for how in Squeezed::ALL {
        let mut rig = Rig::with_own_time(Reader::Told);
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        second(&mut rig);
        rig.append("a.log", 30_000);
        rig.rename("a.log", "a.log.1");
        compress(&rig.path("a.log.1"), how);
        second(&mut rig);
        File::create_new(rig.path("a.log")).unwrap();
        rig.begin();
        rig.step();
        rig.append("a.log", 300);
        second(&mut rig);
        assert_eq!(rig.bell.wait(secs(60)), Rung::Rang);
        rig.step();
        assert!(rig.got.len() < 31_000, "there is still some to read before it");
        rig.rename(&format!("a.log.1{}", how.suffix()), &format!("a.log.2{}", how.suffix()));
        rig.rename("a.log", "a.log.1");
        compress(&rig.path("a.log.1"), how);
        second(&mut rig);
        rig.append("a.log", 100);
        rig.settle();
        rig.assert_quiet();
    }
}

/// logrotate gives an archive the time that the log had when it was looked at, and its program writes on until it is told
/// to reopen it. An agent that meets it then, and is killed before it read any of it, knows a later time.
#[test]
fn an_archive_that_is_older_than_the_last_line_of_a_log_of_which_nothing_was_read() {
    for (renamed, again) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut rig = Rig::with_own_time(Reader::Told);
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        second(&mut rig);
        rig.append("a.log", 30_000);
        rig.rename("a.log", "a.log.2");
        compress(&rig.path("a.log.2"), Squeezed::Gzip);
        second(&mut rig);
        rig.append("a.log", 300);
        let looked_at = fs::metadata(rig.path("a.log")).unwrap().modified().unwrap();
        second(&mut rig);
        rig.append("a.log", 100);
        let rename = |rig: &mut Rig| {
            rig.rename("a.log", "a.log.1");
            File::create_new(rig.path("a.log")).unwrap();
        };
        if renamed {
            rename(&mut rig);
        }
        rig.begin();
        rig.step();
        assert!(rig.got.len() < 31_000, "there is still some to read before it");
        rig.stop();
        if !renamed {
            rename(&mut rig);
        }
        File::open(rig.path("a.log.1")).unwrap().set_modified(looked_at).unwrap();
        compress(&rig.path("a.log.1"), Squeezed::Gzip);
        second(&mut rig);
        rig.append("a.log", 200);
        if again {
            second(&mut rig);
            rig.rename("a.log.2.gz", "a.log.3.gz");
            rig.rename("a.log.1.gz", "a.log.2.gz");
            rename(&mut rig);
            compress(&rig.path("a.log.1"), Squeezed::Gzip);
            second(&mut rig);
            rig.append("a.log", 100);
        }
        rig.start();
        rig.settle();
        rig.assert_quiet();
    }
}

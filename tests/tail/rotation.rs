//! Is every line of a log read that is renamed, moved, linked, deleted and made anew while it is written?

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::rig::{Reader, Rig, secs, spec, stories};

stories! {
    fn t01_renamed_and_created(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.append("a.log", 1000);
        rig.hear();
        rig.rename("a.log", "a.log.1");
        File::create_new(rig.path("a.log")).unwrap();
        rig.append("a.log", 1000);
        rig.settle();
        rig.assert_quiet();
    }

    fn t02_writer_lingers_on_the_renamed_file(rig) {
        rig.start();
        let mut old = rig.open("a.log");
        rig.write(&mut old, 1000);
        rig.settle();
        rig.rename("a.log", "a.log.1");
        rig.write(&mut old, 1000);
        rig.hear();
        File::create_new(rig.path("a.log")).unwrap();
        rig.meanwhile(secs(1));
        rig.write(&mut old, 1000);
        rig.meanwhile(secs(1));
        rig.append("a.log", 1000);
        rig.settle();
        rig.assert_quiet();
    }

    fn t03_writer_lingers_for_two_minutes(rig) {
        rig.start();
        let mut old = rig.open("a.log");
        rig.write(&mut old, 1000);
        rig.settle();
        rig.rename("a.log", "a.log.1");
        File::create_new(rig.path("a.log")).unwrap();
        for _ in 0..12 {
            rig.meanwhile(secs(10));
            rig.write(&mut old, 100);
        }
        rig.meanwhile(secs(5));
        rig.append("a.log", 1000);
        rig.settle();
        // Once quiet, the old one is let go.
        rig.pass(secs(700));
        assert_eq!(rig.tailer().status().len(), 1);
        assert_eq!(rig.kept(), (1, 1));
        rig.assert_quiet();
    }

    fn t04_moved_out_of_every_watched_directory(rig) {
        fs::create_dir(rig.path("old")).unwrap();
        rig.start();
        let mut old = rig.open("a.log");
        rig.write(&mut old, 10);
        rig.settle();
        rig.rename("a.log", "old/a.1");
        rig.meanwhile(secs(1));
        rig.write(&mut old, 1000);
        rig.meanwhile(secs(1)); // no event ever tells of these
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t05_two_rotations_between_two_looks(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        // What the tailer knows is older than every rotation from here on.
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t06_renamed_compressed_and_deleted_with_unread_lines(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        compress(rig, "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    /// The same with a log that was made meanwhile: nobody holds it, and only what it was compressed to is left.
    fn t06_made_renamed_compressed_and_deleted_between_two_looks(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.append("a.log", 1000);
        rig.rename("a.log", "a.log.2");
        compress(rig, "a.log.2");
        rig.append("a.log", 1000);
        rig.rename("a.log", "a.log.1");
        compress(rig, "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t07_logrotates_exact_order_sixty_times_with_inodes_reused(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        for round in 0..60 {
            rig.append("a.log", 50);
            rig.hear();
            if rig.path("a.log.1").exists() {
                compress(rig, "a.log.1");
            }
            drop(fs::remove_file(rig.path("a.log.3.gz")));
            drop(fs::rename(rig.path("a.log.2.gz"), rig.path("a.log.3.gz")));
            drop(fs::rename(rig.path("a.log.1.gz"), rig.path("a.log.2.gz")));
            rig.rename("a.log", "a.log.1");
            File::create_new(rig.path("a.log")).unwrap();
            rig.append("a.log", 50);
            // Blocked, the reader is two generations late: what is older than the oldest that is kept is gone.
            if !rig.blocked() || round % 2 == 1 {
                rig.settle();
            }
        }
        rig.assert_quiet();
    }

    fn t08_created_thirty_seconds_late(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for n in 1..4 {
            rig.append("a.log", 100);
            rig.rename("a.log", &format!("a.log-{n}"));
            rig.meanwhile(secs(30));
            rig.append("a.log", 1000);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t09_created_by_renaming_in(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.append("a.log", 10);
        rig.rename("a.log", "a.log.1");
        let text = rig.lines(10);
        fs::write(rig.path("a.tmp"), text).unwrap();
        rig.rename("a.tmp", "a.log");
        rig.hear();
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t11_a_hard_link_to_the_latest_under_the_same_glob(rig) {
        rig.start();
        for n in 1..6 {
            let name = format!("r.{n}.log");
            drop(fs::remove_file(rig.path("latest.log")));
            File::create_new(rig.path(&name)).unwrap();
            fs::hard_link(rig.path(&name), rig.path("latest.log")).unwrap();
            rig.append(&name, 20);
            rig.hear();
            rig.append("latest.log", 20);
            rig.hear();
        }
        rig.settle_unordered();
        rig.assert_quiet();
    }

    fn t12_a_symlink_is_swapped_while_the_old_target_is_written(rig) {
        fs::create_dir(rig.path("elsewhere")).unwrap();
        let mut old = rig.open("elsewhere/t1");
        symlink(rig.path("elsewhere/t1"), rig.path("cur.log")).unwrap();
        rig.start();
        rig.write(&mut old, 1000);
        rig.settle();
        for n in 2..5 {
            let next = format!("elsewhere/t{n}");
            rig.append(&next, 100);
            symlink(rig.path(&next), rig.path("tmp")).unwrap();
            rig.rename("tmp", "cur.log");
            for _ in 0..10 {
                rig.meanwhile(Duration::from_millis(100));
                rig.write(&mut old, 10);
            }
            rig.append(&next, 100);
            // Two files are written at once: in which order they are read is not told.
            rig.settle_unordered();
            old = rig.open(&next);
        }
        rig.assert_quiet();
    }

    fn t13_the_target_of_a_chain_of_symlinks_is_rotated(rig) {
        for dir in ["containers", "pods", "docker"] {
            fs::create_dir(rig.path(dir)).unwrap();
        }
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["containers/*.log"])];
        symlink(rig.path("docker/json.log"), rig.path("pods/0.log")).unwrap();
        symlink(rig.path("pods/0.log"), rig.path("containers/web.log")).unwrap();
        File::create_new(rig.path("docker/json.log")).unwrap();
        rig.start();
        rig.append("docker/json.log", 100);
        rig.settle();
        for n in 1..5 {
            rig.append("docker/json.log", 100);
            rig.rename("docker/json.log", &format!("docker/json.log.{n}"));
            rig.append("docker/json.log", 100);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t14_deleted_while_it_is_written(rig) {
        rig.start();
        let mut held = rig.open("a.log");
        rig.write(&mut held, 10);
        rig.settle();
        rig.remove("a.log");
        rig.meanwhile(secs(1));
        rig.write(&mut held, 1000);
        rig.meanwhile(secs(1));
        rig.settle();
        drop(held);
        rig.pass(secs(15));
        assert!(rig.tailer().status().is_empty(), "the disk is freed");
        assert_eq!(rig.kept(), (0, 1));
        let dir = rig.dir.path().to_path_buf();
        let held = fs::read_dir("/proc/self/fd").unwrap().filter(|fd| {
            fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(&dir))
        });
        assert_eq!(held.count(), 0, "the disk is freed");
        rig.assert_quiet();
    }

    /// A file that was deleted before anybody opened it has left nothing that could be read: when only looking tells,
    /// some are bound to be lost, and nobody can know how many there were. What can be asked: none comes twice, all
    /// come in order, and the last, which is still there, comes.
    fn t15_deleted_and_created_a_hundred_times_a_second(rig) {
        rig.start();
        for n in 0..100 {
            rig.append("a.log", 1);
            match rig.reader {
                Reader::Told => rig.hear_all(),
                Reader::Looks => rig.pass(Duration::from_millis(10)),
                Reader::Blocked => {}
            }
            if n < 99 {
                rig.remove("a.log");
            }
        }
        if rig.reader == Reader::Told {
            rig.settle();
        } else {
            let all = std::mem::take(&mut rig.expected);
            rig.pass(secs(15));
            rig.expected = all.iter().filter(|l| rig.got.contains(l)).cloned().collect();
            assert_eq!(rig.got, rig.expected, "in order, none twice");
            assert_eq!(rig.got.last(), all.last());
        }
    }

    fn t17_dated_names_written_side_by_side(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["app-*.log"])];
        rig.start();
        let mut old = rig.open("app-2026-11-22-10.log");
        rig.write(&mut old, 100);
        rig.settle();
        let mut new = rig.open("app-2026-11-22-11.log");
        for _ in 0..25 {
            rig.write(&mut old, 20);
            rig.write(&mut new, 20);
            rig.meanwhile(Duration::from_millis(200));
        }
        rig.write(&mut new, 100);
        rig.settle_unordered();
        rig.assert_quiet();
    }

    fn a_new_file_is_read_from_its_start(rig) {
        rig.start();
        rig.append("new.log", 3);
        rig.settle();
        let text = rig.lines(3);
        fs::write(rig.path("moved.tmp"), text).unwrap();
        rig.rename("moved.tmp", "moved.log");
        rig.settle();
        rig.append("moved.log", 1);
        rig.settle();
    }

    fn a_new_directory_that_a_glob_names_is_picked_up(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["*/*.log"])];
        rig.start();
        fs::create_dir(rig.path("sub")).unwrap();
        rig.append("sub/a.log", 3);
        rig.settle();
        rig.append("sub/b.log", 3);
        rig.settle();
    }

    fn generations_that_match_the_glob_are_not_read_again(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.start();
        for _ in 0..5 {
            rig.append("a.log", 100);
            rig.settle();
            drop(fs::rename(rig.path("a.log.1"), rig.path("a.log.2")));
            rig.rename("a.log", "a.log.1");
            rig.append("a.log", 100);
            rig.settle();
        }
    }

    fn deleted_and_made_anew_under_the_same_name(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        for _ in 0..20 {
            rig.append("a.log", 20);
            fs::remove_file(rig.path("a.log")).unwrap();
            rig.append("a.log", 20);
            rig.settle();
        }
    }

    fn one_file_by_many_names_is_read_once_a_source(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["*.log", "a*", "latest"])];
        rig.put("a.log", b"");
        fs::hard_link(rig.path("a.log"), rig.path("latest")).unwrap();
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        rig.append("latest", 5);
        rig.settle();
        fs::remove_file(rig.path("latest")).unwrap();
        rig.append("b.log", 5);
        fs::hard_link(rig.path("b.log"), rig.path("latest")).unwrap();
        rig.settle();
    }
}

/// What `gzip` does: a new file with the time of the old one, which is deleted.
fn compress(rig: &Rig, name: &str) {
    super::rig::compress(&rig.path(name), super::rig::Squeezed::Gzip);
}

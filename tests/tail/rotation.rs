//! Is every line of a log read that is renamed, moved, linked, deleted and made anew while it is written?

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::rig::{Reader, Rig, spec, stories};

stories! {
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

    fn renamed_and_created_with_late_lines_on_the_old_one(rig) {
        rig.start();
        let mut old = rig.open("a.log");
        rig.write(&mut old, 1000);
        rig.settle();
        rig.rename("a.log", "a.log.1");
        rig.write(&mut old, 1000);
        rig.settle();
        File::create(rig.path("a.log")).unwrap();
        rig.pass(Duration::from_secs(120));
        rig.write(&mut old, 1000);
        rig.pass(Duration::from_secs(5));
        rig.append("a.log", 1000);
        rig.settle();
        // Once quiet, the old one is let go.
        rig.pass(Duration::from_secs(700));
        assert_eq!(rig.tailer().status().len(), 1);
        assert_eq!(rig.saved.len(), 1);
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn moved_out_of_the_directory_with_late_lines(rig) {
        fs::create_dir(rig.path("old")).unwrap();
        rig.start();
        let mut old = rig.open("a.log");
        rig.write(&mut old, 10);
        rig.settle();
        rig.rename("a.log", "old/a.1");
        rig.pass(Duration::from_secs(1));
        rig.write(&mut old, 10);
        rig.pass(Duration::from_secs(1)); // no event ever tells of these
        rig.append("a.log", 10);
        rig.settle();
    }

    fn two_rotations_between_two_looks(rig) {
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
    }

    fn rotated_again_and_again_with_inodes_reused(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        for _ in 0..20 {
            rig.append("a.log", 50);
            drop(fs::remove_file(rig.path("a.log.2")));
            drop(fs::rename(rig.path("a.log.1"), rig.path("a.log.2")));
            rig.rename("a.log", "a.log.1");
            File::create_new(rig.path("a.log")).unwrap();
            rig.append("a.log", 50);
            rig.settle();
        }
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
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

    fn deleted_while_it_is_written(rig) {
        rig.start();
        let mut held = rig.open("a.log");
        rig.write(&mut held, 10);
        rig.settle();
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.pass(Duration::from_secs(1));
        rig.write(&mut held, 1000);
        rig.pass(Duration::from_secs(1));
        rig.settle();
        drop(held);
        rig.pass(Duration::from_secs(15));
        assert!(rig.tailer().status().is_empty(), "the disk is freed");
        assert!(rig.saved.is_empty());
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

    fn a_symlink_that_is_swapped(rig) {
        fs::create_dir(rig.path("elsewhere")).unwrap();
        let mut t1 = rig.open("elsewhere/t1");
        symlink(rig.path("elsewhere/t1"), rig.path("cur.log")).unwrap();
        rig.start();
        rig.write(&mut t1, 10);
        rig.settle();
        rig.append("elsewhere/t2", 10);
        symlink(rig.path("elsewhere/t2"), rig.path("tmp")).unwrap();
        rig.rename("tmp", "cur.log");
        rig.settle();
        rig.write(&mut t1, 10);
        rig.pass(Duration::from_secs(1));
        rig.append("elsewhere/t2", 10);
        rig.settle();
        // The target is rotated, the link's text stays.
        rig.rename("elsewhere/t2", "elsewhere/t2.1");
        rig.append("elsewhere/t2", 10);
        rig.settle();
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

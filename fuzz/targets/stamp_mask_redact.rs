//! Any line through what reads its time, masks it to its kind, and takes secrets out of it.
//!
//! The first two bytes choose the zone and when the line was read. A secret behind the line must be gone whatever
//! stands before it.

#![no_main]

use jiff::tz::{Offset, TimeZone};
use libfuzzer_sys::fuzz_target;
use logherald::redact::Redactor;
use logherald::rules::mask::{KIND_BYTES, VERSION, kind};
use logherald::rules::stamp::stamp;
use logherald::time::Wall;

const SECRET: &str = "hunter2hunter2";

fuzz_target!(|data: &[u8]| {
    let [zone, read, line @ ..] = data else { return };
    let offset = Offset::from_seconds((i32::from(*zone) - 128) * 600).expect("within 22 hours");
    let reads = [0, 1_795_325_160_000, 951_782_399_999, 253_402_300_799_999, i64::MAX, i64::MIN, -1, 4_102_444_800_000];
    let read = Wall(reads[usize::from(*read) % reads.len()]);
    let first = stamp(line, read, &TimeZone::fixed(offset));
    assert_eq!(first, stamp(line, read, &TimeZone::fixed(offset)));
    if let Some(at) = first {
        let years = at.0 / 31_556_952_000;
        assert!((-2..=231).contains(&years) || read.0 > 4_102_444_800_000 || read.0 < 0, "{at}");
    }

    let masked = kind(line);
    assert!(masked.len() <= KIND_BYTES && masked.starts_with(VERSION), "{masked}");
    assert!(!masked.chars().any(char::is_control), "{masked:?}");

    let redactor = Redactor::new();
    let text = String::from_utf8_lossy(line);
    let once = redactor.redact(&text);
    assert!(once.len() <= 4 * text.len() + 16, "{} bytes of {}", once.len(), text.len());
    assert_eq!(redactor.redact(&once), once, "{text:?}");
    let told = format!("{text} password={SECRET} x");
    assert!(!redactor.redact(&told).contains(SECRET), "{told:?}");
});

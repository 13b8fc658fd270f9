//! Numbers of payment cards: known by their first digits, their length and their check digit.
//!
//! Written together, or in the groups that are printed on the card. A number of sixteen digits that merely counts
//! something passes the check digit once in ten times, so the prefixes are kept to those that issuers use. The skip
//! is why a line costs nothing: no card has two bytes side by side that are no digit, so every twelfth pair tells.

use std::ops::Range;

/// Shortest and longest, in digits.
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Bytes that are skipped at once: one less than the shortest card.
const SKIP: usize = 12;

/// Where card numbers stand in `text`.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let mut found = Vec::new();
    let (mut floor, mut at) = (0, SKIP - 1);
    while at < bytes.len() {
        if !digit(at) && !digit(at + 1) {
            at += SKIP;
            continue;
        }
        // the run around this place, not before what was looked at already
        let inside = if digit(at) { at } else { at + 1 };
        let mut start = inside;
        while start > floor && (digit(start - 1) || start - 1 > floor && parts(bytes, start - 1)) {
            start -= 1;
        }
        let mut end = inside + 1;
        while digit(end) || parts(bytes, end) {
            end += 1;
        }
        if let Some(card) = card(bytes, start..end) {
            found.push(card);
        }
        floor = end;
        at = end + SKIP - 1;
    }
    found
}

/// A space or a dash between two digits.
fn parts(bytes: &[u8], at: usize) -> bool {
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    matches!(bytes.get(at), Some(b' ' | b'-')) && at > 0 && digit(at - 1) && digit(at + 1)
}

/// The card number in a run of digits and separators: all of it, or some of its groups.
fn card(bytes: &[u8], run: Range<usize>) -> Option<Range<usize>> {
    let stuck =
        |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if run.len() < *DIGITS.start() {
        return None;
    }
    // part of a longer id, a decimal or an address
    let ends = |r: &Range<usize>| {
        let before = r.start.checked_sub(1).and_then(|i| bytes.get(i));
        let dot =
            bytes.get(r.end) == Some(&b'.') && bytes.get(r.end + 1).is_some_and(u8::is_ascii_alphanumeric);
        let after = bytes.get(r.end).filter(|b| **b != b'.' && **b != b'-');
        !stuck(before) && !stuck(after) && !dot
    };
    let mut starts: Vec<usize> = vec![run.start];
    starts.extend((run.start + 1..run.end).filter(|i| bytes[*i - 1] == b' '));
    let mut stops: Vec<usize> = vec![run.end];
    stops.extend((run.start + 1..run.end).rev().filter(|i| bytes[*i] == b' '));
    starts.truncate(GROUPS);
    stops.truncate(GROUPS);
    for start in &starts {
        for stop in stops.iter().filter(|s| **s > *start) {
            let range = *start..*stop;
            if range.len() <= 2 * *DIGITS.end() && ends(&range) && is_card(&bytes[range.clone()]) {
                return Some(range);
            }
        }
    }
    None
}

/// Groups of a run that a card may begin or end with: a number behind a date, before an amount.
const GROUPS: usize = 8;

fn is_card(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
    DIGITS.contains(&digits.len()) && grouped(text, digits.len()) && known(&digits) && check_digit(&digits)
}

/// As a card is printed: in one piece, in fours, or 4-6-5 and 4-6-4, with one sort of separator.
fn grouped(text: &[u8], digits: usize) -> bool {
    let mark = text.iter().find(|b| !b.is_ascii_digit());
    let Some(mark) = mark else { return true };
    if text.iter().any(|b| !b.is_ascii_digit() && b != mark) {
        return false;
    }
    let groups: Vec<usize> = text.split(|b| b == mark).map(<[u8]>::len).collect();
    let fours = groups.iter().rev().skip(1).all(|g| *g == 4) && groups.last().is_some_and(|g| *g <= 4);
    match digits {
        15 => groups == [4, 6, 5],
        14 => groups == [4, 6, 4],
        _ => fours,
    }
}

/// The prefix of an issuer, with a length that it uses.
fn known(digits: &[u8]) -> bool {
    let prefix = |n: usize| digits.iter().take(n).fold(0u32, |sum, d| sum * 10 + u32::from(*d));
    match digits.len() {
        13 | 19 if digits[0] == 4 => true, // Visa
        16 if digits[0] == 4 => true,      // Visa
        16 if matches!(prefix(2), 51..=55) || matches!(prefix(4), 2221..=2720) => true, // Mastercard
        15 => matches!(prefix(2), 34 | 37), // American Express
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305), // Diners
        16..=19 => {
            // Discover, JCB, UnionPay
            prefix(4) == 6011
                || matches!(prefix(3), 644..=649)
                || prefix(2) == 65
                || matches!(prefix(4), 3528..=3589)
                || prefix(2) == 62
        }
        _ => false,
    }
}

/// Luhn's sum.
fn check_digit(digits: &[u8]) -> bool {
    let doubled = |d: u8| if d > 4 { 2 * d - 9 } else { 2 * d };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| u32::from(if i % 2 == 1 { doubled(*d) } else { *d }))
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cards(text: &str) -> Vec<&str> {
        find(text).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn a_card_is_found_however_it_is_written() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "6200000000000005",
            "4222222222222",
        ] {
            for around in [
                ("", ""),
                ("card=", ";"),
                ("paid with ", "."),
                ("at 12:30 ", " for 100 EUR"),
                ("x 9 ", " 7 y"),
            ] {
                let text = format!("{}{card}{}", around.0, around.1);
                assert_eq!(cards(&text), [card], "{text}");
            }
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "4111111111111112",
            "1700000000123456",
            "2026-11-22 05:26:00.123456",
            "id 14111111111111111",
            "x4111111111111111",
            "4111111111111111abc",
            "4111111111111111.5",
            "0.4111111111111111",
            "4111-1111-1111-1111-1111",
            "4111 11111111 1111",
            "4111-1111 1111-1111",
            "411111111111111-1",
            "192.168.100.200 10.0.0.1",
            "550e8400-e29b-41d4-a716-446655440000",
            "1234567890123456789012345678901234567890",
        ] {
            assert_eq!(cards(text), [""; 0], "{text}");
        }
    }

    /// Every run of digits and separators, looked at without the skip.
    fn plainly(text: &str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_digit() {
                at += 1;
                continue;
            }
            let mut end = at + 1;
            while bytes.get(end).is_some_and(u8::is_ascii_digit) || parts(bytes, end) {
                end += 1;
            }
            found.extend(card(bytes, at..end));
            at = end;
        }
        found
    }

    proptest! {
        #[test]
        fn the_skip_misses_nothing(parts in prop::collection::vec(prop::sample::select(vec![
            "4111111111111111", "4111 1111 1111 1111", "378282246310005", "4222222222222", "x", " ", "-", "é", "7", "42", ".", "a b c d e f g",
        ]), 0..12)) {
            let text = parts.concat();
            prop_assert_eq!(find(&text), plainly(&text), "{}", text);
        }
    }
}

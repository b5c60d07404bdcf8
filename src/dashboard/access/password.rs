//! The password: made, hashed and compared. No files.
//!
//! Kept is what argon2id makes of it (RFC 9106), as a line of text with all that is needed to make it again:
//! `$argon2id$v=19$m=7168,t=5,p=1$SALT$HASH` (the PHC string format). 7 MiB and five rounds are one of the settings that OWASP's
//! Password Storage Cheat Sheet holds equal; more memory would be felt on a board with 512 MB.

use std::fmt::Write;
use std::hint::black_box;
use std::io;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

/// Characters of a password at least.
pub const SHORTEST: usize = 8;

/// Bytes of a password at most: what is typed is hashed, and a form has no more room for it.
pub const LONGEST: usize = 1024;

/// KiB of memory, rounds, lanes.
type Cost = (u32, u32, u32);

const COST: Cost = (7168, 5, 1);

/// A file that asks for more (KiB, rounds, lanes) was not written by us.
const MOST_COST: Cost = (65_536, 16, 4);

const SALT: usize = 16;
const HASH: usize = 32;

/// Letters and digits that nobody confuses, however they are written: 31.
const PLAIN: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Random bytes from the kernel.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// A new password: four groups of four characters, 79 bits.
pub fn made() -> io::Result<String> {
    let mut password = String::new();
    let mut count = 0;
    while count < 16 {
        for byte in random::<16>()? {
            // 248 is the largest multiple of 31: above it some characters would come more often.
            let character = PLAIN.get(usize::from(byte % 31)).filter(|_| byte < 248);
            if let (Some(&character), true) = (character, count < 16) {
                if count > 0 && count % 4 == 0 {
                    password.push('-');
                }
                password.push(char::from(character));
                count += 1;
            }
        }
    }
    Ok(password)
}

/// A new token: 32 random bytes, in hex.
pub fn made_token() -> io::Result<String> {
    Ok(hex(&random::<32>()?))
}

/// What is kept of a token or of a session's id: both are random and long, so a plain hash hides them.
pub fn sum(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// What is kept of a password.
pub fn hashed(password: &str) -> io::Result<String> {
    let salt = random::<SALT>()?;
    let hash = argon2id(password, &salt, COST).ok_or(io::ErrorKind::OutOfMemory)?;
    let (memory, rounds, lanes) = COST;
    Ok(format!(
        "$argon2id$v=19$m={memory},t={rounds},p={lanes}${}${}",
        base64(&salt),
        base64(&hash)
    ))
}

/// Whether this is what [`hashed`] makes.
pub fn is_hash(line: &str) -> bool {
    parts(line).is_some()
}

/// Whether it is the password of which this was kept. Takes as long as making it.
pub fn is_right(password: &str, kept: &str) -> bool {
    let right = || {
        let (cost, salt, hash) = parts(kept)?;
        let ours = argon2id(password, &salt, cost)?;
        Some(is_same(&ours, &hash))
    };
    password.len() <= LONGEST && right().unwrap_or(false)
}

/// Compares in a time that does not tell where they differ.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    let differing = pairs.fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
    one.len() == other.len() && differing == 0
}

fn argon2id(password: &str, salt: &[u8], cost: Cost) -> Option<[u8; HASH]> {
    let params = Params::new(cost.0, cost.1, cost.2, Some(HASH)).ok()?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(params.block_count()).ok()?;
    memory.resize(params.block_count(), Block::default());
    let mut hash = [0; HASH];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, &mut memory[..])
        .ok()?;
    Some(hash)
}

/// Cost, salt and hash of a kept line.
fn parts(line: &str) -> Option<(Cost, [u8; SALT], [u8; HASH])> {
    let rest = line.strip_prefix("$argon2id$v=19$m=")?;
    let (memory, rest) = rest.split_once(",t=")?;
    let (rounds, rest) = rest.split_once(",p=")?;
    let (lanes, rest) = rest.split_once('$')?;
    let (salt, hash) = rest.split_once('$')?;
    let number = |text: &str, most| {
        text.parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
    };
    let cost = (
        number(memory, MOST_COST.0)?,
        number(rounds, MOST_COST.1)?,
        number(lanes, MOST_COST.2)?,
    );
    Some((cost, unbase64(salt)?, unbase64(hash)?))
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        write!(digits, "{byte:02x}").unwrap_or_default();
    }
    digits
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 without padding, as the format has it.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes.iter().map(Some).chain([None]) {
        match byte {
            Some(&byte) => {
                bits = bits << 8 | u32::from(byte);
                count += 8;
            }
            None if count > 0 => {
                bits <<= 6 - count;
                count = 6;
            }
            None => {}
        }
        while count >= 6 {
            count -= 6;
            let digit = BASE64.get((bits >> count & 63) as usize);
            text.extend(digit.map(|&digit| char::from(digit)));
        }
    }
    text
}

/// Back; `None`: not so many bytes, or no base64.
fn unbase64<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (mut bits, mut count) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(N);
    for character in text.bytes() {
        let digit = BASE64.iter().position(|&digit| digit == character)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line that the reference program makes: `echo -n 'correct horse' | argon2 'sixteen byte slt' -id -t 5 -k 7168 -p 1 -l 32 -e`.
    const REFERENCE: &str = "$argon2id$v=19$m=7168,t=5,p=1$c2l4dGVlbiBieXRlIHNsdA$AQwWY8OBBqiv62V34tkUxJdum3Et9c6EUTPuSyvEwqY";

    #[test]
    fn what_the_reference_program_keeps_of_a_password_is_understood() {
        assert!(is_right("correct horse", REFERENCE));
        assert!(!is_right("correct horsf", REFERENCE));
    }

    #[test]
    fn only_the_same_password_is_right_and_two_lines_of_one_differ() {
        let kept = hashed("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{kept}");
        assert!(is_hash(&kept));
        assert!(is_right("correct horse", &kept));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!is_right(wrong, &kept), "{wrong}");
        }
        assert_ne!(hashed("correct horse").unwrap(), kept);
    }

    #[test]
    fn a_line_that_is_not_ours_fits_no_password_and_costs_nothing() {
        let kept = REFERENCE;
        for (from, to) in [
            ("m=7168", "m=99999999"),
            ("t=5", "t=9999"),
            ("p=1", "p=0"),
            ("v=19", "v=16"),
            ("argon2id", "argon2i"),
            ("c2l4dGVl", "c2l4d"),
            ("c2l4dGVl", "c2l4dGV?"),
        ] {
            let changed = kept.replace(from, to);
            assert_ne!(changed, kept);
            assert!(!is_hash(&changed), "{changed}");
            assert!(!is_right("correct horse", &changed));
        }
        assert!(!is_hash("") && !is_hash("secret"));
    }

    #[test]
    fn a_made_password_is_four_groups_of_four_plain_characters() {
        let password = made().unwrap();
        let groups: Vec<_> = password.split('-').collect();
        assert_eq!(groups.len(), 4);
        for group in groups {
            assert!(group.len() == 4 && group.bytes().all(|byte| PLAIN.contains(&byte)));
        }
        assert_ne!(made().unwrap(), password);
        assert_eq!(made_token().unwrap().len(), 64);
    }

    #[test]
    fn comparing_sees_every_difference() {
        assert!(is_same(b"", b"") && is_same(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!is_same(b"abc", other));
        }
    }
}

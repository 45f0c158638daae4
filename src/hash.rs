//! FNV-1a with 64 bits: fingerprints of requests, namespaces, and kinds of jobs.
//!
//! It guards against mistakes, not against attackers: two requests of one person under one operation id are compared.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of some bytes.
pub fn of(bytes: &[u8]) -> u64 {
    of_all(&[bytes])
}

/// The hash of several parts. A byte that UTF-8 never contains follows each, so that the boundaries count.
pub fn of_parts(parts: &[&str]) -> u64 {
    let mut all: Vec<&[u8]> = Vec::new();
    for part in parts {
        all.push(part.as_bytes());
        all.push(&[0xff]);
    }
    of_all(&all)
}

fn of_all(parts: &[&[u8]]) -> u64 {
    parts.iter().copied().flatten().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// 16 hexadecimal digits.
pub fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Parses the text of [`hex`].
pub fn parse_hex(text: &str) -> Option<u64> {
    if text.len() == 16 { u64::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vectors_hold() {
        // From the authors' page on the algorithm.
        for (text, hash) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(of(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn borders_between_parts_count_and_hexadecimal_round_trips() {
        assert_ne!(of_parts(&["ab", "c"]), of_parts(&["a", "bc"]));
        assert_ne!(of_parts(&["a"]), of_parts(&["a", ""]));
        assert_eq!(parse_hex(&hex(7)), Some(7));
        assert_eq!(parse_hex("7"), None);
    }
}

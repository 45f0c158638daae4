//! Seeded random numbers, and a hash for fingerprints.

use std::hash::Hasher as _;

use uuid::Uuid;

/// A `SplitMix64` stream. Two streams with the same seed words give the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream seeded by `words`, whose order matters.
    pub fn new(words: &[u64]) -> Self {
        let mut stream = Self(0x5bd1_e995_9d1b_54a3);
        for word in words {
            stream.0 = stream.next().wrapping_add(*word);
        }
        stream
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // the stream never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A fraction in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.fraction()
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// A 64-bit FNV-1a hash, for fingerprints that need no secrecy.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of `--data` contain fingerprints, so the hash must not change.
    #[test]
    fn fingerprints_match_the_published_test_vectors() {
        for (text, hash) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(fingerprint(text.as_bytes()), hash, "{text}");
        }
    }
}

//! Decides every draw of chance: a small generator that depends on its seed alone.

use uuid::Uuid;

/// A `SplitMix64` stream. Two streams made from the same words give the same draws.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream that depends on every word, and on their order.
    pub fn new(words: &[u64]) -> Self {
        let mut stream = Self(0x5bd1_e995_9d1b_54a3);
        for word in words {
            stream.0 = stream.next().wrapping_add(*word);
        }
        stream
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // an endless stream is not an iterator that can end
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
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

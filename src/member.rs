//! A member of a JSON object, as the core reads it.

/// A member of a JSON object, copied as far as the core needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Member {
    /// The member is missing, `null`, or of a kind that JSON does not have.
    #[default]
    Unset,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List,
    /// An object.
    Object,
}

impl Member {
    /// The string, if this is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The string, if this is one, by value.
    pub fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The string, if this is one that is not empty.
    pub fn filled(&self) -> Option<&str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// The number, or the one that this string spells in decimal digits, such as `"12.5"`.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => decimal(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one from 0 to 2^53.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(number) if *number >= 0.0 && *number <= 9_007_199_254_740_992.0 => Some(*number as u64),
            _ => None,
        }
    }
}

/// A number that is spelled in at most 15 digits before the point, and at most 15 after it.
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| {
        let all = !part.is_empty() && part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit());
        if all { part.parse::<u64>().ok() } else { None }
    };
    let scale = (0..fraction.len()).fold(1.0, |scale, _| scale * 10.0);
    Some(digits(whole)? as f64 + digits(fraction)? as f64 / scale)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_in_a_string_is_a_number_and_nothing_else_is() {
        for (text, number) in [("12", 12.0), ("0.5", 0.5), ("100.25", 100.25)] {
            assert_eq!(Member::Text(text.into()).number(), Some(number), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1e3", "Infinity", "0x10", " 1", "1 ", "1.2.3", "1234567890123456"] {
            assert_eq!(Member::Text(text.into()).number(), None, "{text:?}");
        }
        assert_eq!(Member::Bool(true).number(), None);
    }
}

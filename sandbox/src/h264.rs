//! Colour information for an H.264 stream. The encoder writes none, and players then guess the colour space from the size.

/// The NAL unit type of a sequence parameter set.
const SEQUENCE: u8 = 7;

/// The VUI parameters, with `vui_parameters_present_flag` in front: no aspect ratio and no overscan; an unspecified video
/// format in video range, with primaries, transfer and matrix of BT.709 (1 each); nothing about chroma, timing and buffers.
const BT709: &str = "1 0 0 1 101 0 1 00000001 00000001 00000001 0 0 0 0 0 0";

/// Marks the colours of a stream in Annex B format as BT.709.
pub fn in_bt709(stream: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(stream.len() + 8);
    let mut rest = stream;
    while let Some(start) = find(rest, &[0, 0, 1]) {
        let (before, unit) = rest.split_at(start + 3);
        marked.extend_from_slice(before);
        let end = [find(unit, &[0, 0, 1]), find(unit, &[0, 0, 0])].into_iter().flatten().min().unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        match unit.first() {
            Some(head) if head & 0x1f == SEQUENCE => marked.extend(with_colors(unit)),
            _ => marked.extend_from_slice(unit),
        }
        rest = after;
    }
    marked.extend_from_slice(rest);
    marked
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Adds the VUI parameters to a sequence parameter set. The encoder's sets end with `vui_parameters_present_flag` 0 and the
/// stop bit; the `video` suite checks the result with ffprobe.
fn with_colors(unit: &[u8]) -> Vec<u8> {
    let plain = unescaped(unit);
    let mut bits: Vec<bool> = plain.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    while bits.pop_if(|bit| !*bit).is_some() {}
    bits.pop();
    if bits.pop() != Some(false) {
        return unit.to_vec();
    }
    bits.extend(BT709.chars().filter(char::is_ascii_digit).map(|digit| digit == '1'));
    bits.push(true);
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|chunk| chunk.iter().enumerate().fold(0, |byte, (place, bit)| byte | u8::from(*bit) << (7 - place)))
        .collect();
    escaped(&bytes)
}

/// Removes the emulation prevention bytes from a unit.
fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// Adds the emulation prevention bytes to a unit.
fn escaped(plain: &[u8]) -> Vec<u8> {
    let mut unit = Vec::with_capacity(plain.len() + 2);
    let mut zeros = 0;
    for byte in plain {
        if zeros >= 2 && *byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        unit.push(*byte);
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sequence_parameter_set_grows_and_its_other_bits_stay() {
        let sequence = [0x67, 0x42, 0x00, 0x1f, 0xe9, 0x02, 0xc0, 0x80];
        let stream: Vec<u8> =
            [&[0, 0, 0, 1][..], &sequence, &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 1, 0x65, 0x88, 0, 0, 3, 1]].concat();
        let marked = in_bt709(&stream);
        let grown = marked.len() - stream.len();
        assert_eq!(marked[4..10], sequence[..6]);
        assert_eq!(marked[12 + grown..], stream[12..], "the other units stay the same");
        assert_eq!(unescaped(&escaped(&[1, 0, 0, 1, 0, 0, 0, 0, 2])), [1, 0, 0, 1, 0, 0, 0, 0, 2]);
    }
}

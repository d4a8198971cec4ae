//! Sets of bytes, asked of every byte of short texts.

/// Letters, digits, and `others`.
pub const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        set[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        set[others[place] as usize] = true;
        place += 1;
    }
    set
}

/// Without a way out in the middle: what is looked at here is short and nearly always fits.
pub fn is_all_of(bytes: &[u8], set: &[bool; 256]) -> bool {
    bytes
        .iter()
        .fold(true, |fits, &byte| fits & set[usize::from(byte)])
}

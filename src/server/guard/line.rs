//! Lines of a message: they end with CRLF and with nothing else.

use crate::ascii;
use crate::server::guard::refusal::Refusal;

/// The next line of `bytes` without its CRLF, looked for from `from` on; `None` until it is complete.
/// A lone CR or LF is refused as soon as it is seen.
pub fn next(bytes: &[u8], from: usize) -> Result<Option<&[u8]>, Refusal> {
    let Some(end) = memchr::memchr2(b'\r', b'\n', &bytes[from..]).map(|found| from + found) else {
        return Ok(None);
    };
    if bytes[end] == b'\n' {
        return Err(Refusal::bad("a line ends with LF alone"));
    }
    match bytes.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(&bytes[..end])),
        Some(_) => Err(Refusal::bad("a CR stands alone")),
    }
}

/// Where to look for the end of a line that is not complete yet: all but a CR at the very end was seen.
pub fn resume(bytes: &[u8]) -> usize {
    bytes.len() - usize::from(bytes.last() == Some(&b'\r'))
}

/// `token` of RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && ascii::is_all_of(bytes, &IS_TOKEN)
}

static IS_TOKEN: [bool; 256] = ascii::letters_digits_and(b"!#$%&'*+-.^_`|~");

/// Visible characters, space, tab and obs-text: everything but control bytes.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |fits, &byte| {
        fits & ((byte == b'\t') | ((byte >= b' ') & (byte != 0x7f)))
    })
}

/// Name and value (without white space around it) of a field line.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::bad("a header is folded over lines"));
    }
    let (name, value) = split(line).ok_or_else(|| Refusal::bad("a header line has no colon"))?;
    if !is_token(name) {
        return Err(Refusal::bad("a header's name is not a token"));
    }
    if !is_text(value) {
        return Err(Refusal::bad("a header's value has a control byte"));
    }
    Ok((name, value))
}

/// The same of a line that is known to be one.
pub fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], trim(&line[colon + 1..])))
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let Some(start) = value.iter().position(|byte| !is_space(byte)) else {
        return b"";
    };
    let end = value
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

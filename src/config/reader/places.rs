//! From the parser's counting of characters to bytes.

/// The places of one document.
pub struct Places<'p> {
    text: &'p str,
    /// The byte of every [`STRIDE`]th character; none where each character is a byte.
    checkpoints: Vec<u32>,
}

const STRIDE: usize = 128;

impl<'p> Places<'p> {
    pub fn new(text: &'p str) -> Places<'p> {
        let checkpoints = match text.is_ascii() {
            true => Vec::new(),
            false => text
                .char_indices()
                .step_by(STRIDE)
                .map(|(byte, _)| byte as u32)
                .collect(),
        };
        Places { text, checkpoints }
    }

    pub fn byte(&self, character: usize) -> usize {
        if self.checkpoints.is_empty() {
            return character.min(self.text.len());
        }
        let Some(checkpoint) = self.checkpoints.get(character / STRIDE) else {
            return self.text.len();
        };
        let from = *checkpoint as usize;
        self.text[from..]
            .char_indices()
            .nth(character % STRIDE)
            .map_or(self.text.len(), |(byte, _)| from + byte)
    }
}

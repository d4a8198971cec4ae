//! What a verb writes. A reader that has seen enough (`| head`) is no failure.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;

use crate::diagnostic::render::Colour;

/// Whether data was lost on its way out. Verbs write in many places and none can go on better for
/// knowing, so it is asked once, when the verb has ended.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes data to standard output.
pub(super) fn data(text: &str) {
    bytes(text.as_bytes());
}

/// Writes bytes to standard output as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    // A closed pipe is the reader's decision.
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        complain(&format!("standard output cannot be written: {error}"));
    }
}

/// Whether something that was written is not there (a full disk).
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Says something to whoever sits in front of it.
pub(super) fn talk(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says why a verb cannot do its work.
pub(super) fn complain(why: &str) {
    talk(&format!("error: {why}\n"));
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColourChoice {
    Auto,
    Always,
    Never,
}

impl ColourChoice {
    /// `auto` is a terminal whose owner did not say NO_COLOR.
    pub(super) fn on(self, stream: &impl IsTerminal) -> Colour {
        let wanted = match self {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                stream.is_terminal() && !refused
            }
        };
        match wanted {
            true => Colour::Ansi,
            false => Colour::Plain,
        }
    }
}

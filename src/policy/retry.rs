//! Whether a failed attempt may be tried again: by what is known about the request, by the words of
//! `retry`, and by whether the request may be sent twice.

/// What is known about a request whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The service surely never saw it.
    NotSent,
    /// The service answered.
    Rejected,
    /// Bytes were written; what became of them nobody knows.
    Unknown,
}

/// The word of `retry: { only: … }` that a failure falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Connect,
    Reset,
    Timeout,
    Status(u16),
    /// No word stands for it, so it is final.
    None,
}

/// What a call allows.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    pub connect: bool,
    pub reset: bool,
    pub timeout: bool,
    pub statuses: &'a [u16],
    /// The request may be sent twice: idempotent by method, key or `safe`.
    pub repeatable: bool,
}

/// Whether such a failure may be tried again, attempts and time permitting. `told_when`: the answer
/// carried a `retry-after`, without which a 429 is final.
pub fn may_try_again(allowed: Allowed<'_>, known: Known, word: Word, told_when: bool) -> bool {
    let twice = allowed.repeatable;
    match (known, word) {
        (_, Word::None) => false,
        (Known::NotSent, Word::Connect) => allowed.connect,
        (Known::NotSent, Word::Reset) => allowed.reset || allowed.connect,
        (Known::NotSent, Word::Timeout) => allowed.timeout || allowed.connect,
        (Known::Unknown, Word::Connect) => allowed.connect && twice,
        (Known::Unknown, Word::Reset) => allowed.reset && twice,
        (Known::Unknown, Word::Timeout) => allowed.timeout && twice,
        (Known::Rejected, Word::Status(429)) => allowed.lists(429) && twice && told_when,
        (Known::Rejected, Word::Status(status)) => allowed.lists(status) && twice,
        // An answer is neither unsent nor lost, and only an answer has a status.
        (Known::Rejected, _) | (_, Word::Status(_)) => false,
    }
}

impl Allowed<'_> {
    fn lists(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of an idempotent method.
    const DEFAULT: Allowed<'static> = Allowed {
        connect: true,
        reset: true,
        timeout: true,
        statuses: &[429, 502, 503, 504],
        repeatable: true,
    };
    /// All that a write without a key may have.
    const WRITE: Allowed<'static> = Allowed {
        connect: true,
        reset: false,
        timeout: false,
        statuses: &[],
        repeatable: false,
    };
    /// What `check` would refuse: a write without a key that allows everything.
    const CARELESS: Allowed<'static> = Allowed {
        repeatable: false,
        ..DEFAULT
    };
    const NOTHING: Allowed<'static> = Allowed {
        connect: false,
        reset: false,
        timeout: false,
        statuses: &[],
        repeatable: true,
    };

    #[test]
    fn the_table_holds() {
        use Known::*;
        use Word::*;
        let rows = [
            // known, word, told when: default, write, careless, nothing
            (NotSent, Connect, false, [true, true, true, false]),
            (NotSent, Reset, false, [true, true, true, false]),
            (NotSent, Timeout, false, [true, true, true, false]),
            (Unknown, Connect, false, [true, false, false, false]),
            (Unknown, Reset, false, [true, false, false, false]),
            (Unknown, Timeout, false, [true, false, false, false]),
            (Rejected, Status(503), false, [true, false, false, false]),
            (Rejected, Status(503), true, [true, false, false, false]),
            (Rejected, Status(500), false, [false; 4]),
            (Rejected, Status(404), false, [false; 4]),
            (Rejected, Status(429), true, [true, false, false, false]),
            (Rejected, Status(429), false, [false; 4]),
            (Rejected, None, false, [false; 4]),
            (Unknown, None, false, [false; 4]),
            (NotSent, None, false, [false; 4]),
        ];
        for (known, word, told_when, expected) in rows {
            let found = [DEFAULT, WRITE, CARELESS, NOTHING]
                .map(|allowed| may_try_again(allowed, known, word, told_when));
            assert_eq!(found, expected, "{known:?} {word:?} {told_when}");
        }
    }

    #[test]
    fn a_write_without_a_key_is_never_sent_twice() {
        for word in [
            Word::Connect,
            Word::Reset,
            Word::Timeout,
            Word::Status(503),
            Word::Status(429),
            Word::None,
        ] {
            for known in [Known::Unknown, Known::Rejected] {
                assert!(
                    !may_try_again(CARELESS, known, word, true),
                    "{known:?} {word:?}"
                );
            }
        }
    }
}

//! What somebody will read of a body, as a trie that the scan walks along.

/// One step of a demand: how to get from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of this name.
    Name(String),
    /// The element of this index, from the front.
    Index(usize),
    /// Every member or element.
    Every,
    /// Every value below, at any depth.
    Deep,
}

/// The number of a part that a [`Demand`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub usize);

/// What somebody will read of a body: a trie of steps, some of whose nodes are slots.
///
/// An object that is looked into (a step goes through it) may not have duplicate keys; parts that
/// are only moved are not looked into.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// The trie; its root, once there is one, is the first.
    places: Vec<Place>,
    slots: usize,
    strict: bool,
}

/// A number of a [`Place`] in its [`Demand`].
pub(super) type PlaceId = usize;

/// What is asked of the values at one place of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) slot: Option<Slot>,
    names: Vec<(String, PlaceId)>,
    indexes: Vec<(usize, PlaceId)>,
    pub(super) every: Option<PlaceId>,
    /// All that is below is read, so what the steps after a `Deep` say adds nothing.
    pub(super) deep: bool,
}

const ROOT: PlaceId = 0;

impl Demand {
    /// The slot of the part at `steps` (names and indexes only), the same for the same steps.
    /// An empty list is the whole body.
    pub fn slot(&mut self, steps: &[Step]) -> Slot {
        let place = self.place(steps);
        let next = Slot(self.slots);
        let slot = *self.places[place].slot.get_or_insert(next);
        if slot == next {
            self.slots += 1;
        }
        slot
    }

    /// Says that the objects on the way along `steps` (any kind of step) will be looked into.
    pub fn look(&mut self, steps: &[Step]) {
        self.place(steps);
    }

    /// A demand that looks into every object at every depth (for request bodies).
    pub fn strict(self) -> Self {
        Demand {
            strict: true,
            ..self
        }
    }

    fn place(&mut self, steps: &[Step]) -> PlaceId {
        if self.places.is_empty() {
            self.places.push(Place::default());
        }
        let mut place = ROOT;
        for step in steps {
            place = match step {
                Step::Deep => {
                    self.places[place].deep = true;
                    return place;
                }
                step => self.below(place, step),
            };
        }
        place
    }

    /// The place one step below `place`, made when it is not there.
    fn below(&mut self, place: PlaceId, step: &Step) -> PlaceId {
        let known = match step {
            Step::Name(name) => self.places[place].name(name.as_bytes()),
            Step::Index(index) => self.places[place].index(*index),
            Step::Every | Step::Deep => self.places[place].every,
        };
        if let Some(known) = known {
            return known;
        }
        let new = self.places.len();
        self.places.push(Place::default());
        let from = &mut self.places[place];
        match step {
            Step::Name(name) => from.names.push((name.clone(), new)),
            Step::Index(index) => from.indexes.push((*index, new)),
            Step::Every | Step::Deep => from.every = Some(new),
        }
        new
    }

    pub(super) fn root(&self) -> Option<PlaceId> {
        (!self.places.is_empty()).then_some(ROOT)
    }

    pub(super) fn at(&self, place: PlaceId) -> &Place {
        &self.places[place]
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }
}

impl Place {
    pub(super) fn name(&self, name: &[u8]) -> Option<PlaceId> {
        let found = (self.names.iter()).find(|(known, _)| known.as_bytes() == name)?;
        Some(found.1)
    }

    pub(super) fn index(&self, index: usize) -> Option<PlaceId> {
        let found = self.indexes.iter().find(|(known, _)| *known == index)?;
        Some(found.1)
    }

    /// Whether a step goes through an array that stands here.
    pub(super) fn looks_into_arrays(&self) -> bool {
        self.deep || self.every.is_some() || !self.indexes.is_empty()
    }

    /// Whether a step goes through an object that stands here.
    pub(super) fn looks_into_objects(&self) -> bool {
        self.deep || self.every.is_some() || !self.names.is_empty()
    }
}

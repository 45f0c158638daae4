//! The random data of a seed, shared by all functions of a world.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{Drawn, Source};

/// The data that is left. Clones draw from the same data.
#[derive(Clone, Debug)]
pub struct Tape(Rc<RefCell<(Vec<u8>, usize)>>);

impl Tape {
    /// Takes all data that a source has left.
    pub fn new(source: &mut Source<'_>) -> Drawn<Self> {
        let bytes = source.bytes(source.len())?.to_vec();
        Ok(Self(Rc::new(RefCell::new((bytes, 0)))))
    }

    /// Whether all data is drawn. From then on every draw gives the plainest value.
    pub fn is_empty(&self) -> bool {
        let (bytes, at) = &*self.0.borrow();
        *at >= bytes.len()
    }

    /// Draws a value; the default if too little data is left.
    pub fn draw<T: Default>(&self, draw: impl FnOnce(&mut Source<'_>) -> Drawn<T>) -> T {
        self.try_draw(draw).unwrap_or_default()
    }

    /// Draws a value; `None` if too little data is left.
    pub fn try_draw<T>(&self, draw: impl FnOnce(&mut Source<'_>) -> Drawn<T>) -> Option<T> {
        let (bytes, at) = &mut *self.0.borrow_mut();
        let mut source = Source::new(bytes.get(*at..).unwrap_or_default());
        let drawn = draw(&mut source);
        *at = bytes.len() - source.len();
        drawn.ok()
    }

    /// A number below `sides`.
    pub fn below(&self, sides: usize) -> usize {
        self.draw(|source| source.int_in_range(0..=sides - 1))
    }

    /// True in one of `cases` cases; never once no data is left.
    pub fn one_in(&self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }
}

//! The data of a seed, for all the functions of a world that draw from it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{Drawn, Source};

/// The data that is left. Clones draw from the same.
#[derive(Clone, Debug)]
pub struct Tape(Rc<RefCell<(Vec<u8>, usize)>>);

impl Tape {
    /// All that a source has left.
    pub fn new(source: &mut Source<'_>) -> Drawn<Self> {
        let bytes = source.bytes(source.len())?.to_vec();
        Ok(Self(Rc::new(RefCell::new((bytes, 0)))))
    }

    /// Whether all is drawn. From then on everything is plain.
    pub fn is_empty(&self) -> bool {
        let (bytes, at) = &*self.0.borrow();
        *at >= bytes.len()
    }

    /// Draws something; a default where the data does not suffice.
    pub fn draw<T: Default>(&self, draw: impl FnOnce(&mut Source<'_>) -> Drawn<T>) -> T {
        self.try_draw(draw).unwrap_or_default()
    }

    /// Draws something; `None` where the data does not suffice.
    pub fn try_draw<T>(&self, draw: impl FnOnce(&mut Source<'_>) -> Drawn<T>) -> Option<T> {
        let (bytes, at) = &mut *self.0.borrow_mut();
        let mut source = Source::new(bytes.get(*at..).unwrap_or_default());
        let drawn = draw(&mut source);
        *at = bytes.len() - source.len();
        drawn.ok()
    }

    /// One of so many.
    pub fn below(&self, sides: usize) -> usize {
        self.draw(|source| source.int_in_range(0..=sides - 1))
    }

    /// Whether it happens, in one of so many cases; never where nothing is left.
    pub fn one_in(&self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }
}

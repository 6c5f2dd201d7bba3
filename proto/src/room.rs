//! How many may be in at once: so many in all, and so many of one (an address, a user), so that
//! who fills it keeps out none but its like.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Room for so many.
#[derive(Clone, Debug)]
pub struct Room<K> {
    most: usize,
    most_of_one: usize,
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

/// A place in a [`Room`], given back when it is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    room: Room<K>,
    whose: K,
}

impl<K: Eq + Hash> Room<K> {
    /// Room for `most`, of whom `most_of_one` may be one's.
    #[must_use]
    pub fn of(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, counts: Arc::default() }
    }
}

impl<K: Eq + Hash + Copy> Room<K> {
    /// A place, if there is one for `whose`.
    #[must_use]
    pub fn enter(&self, whose: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= self.most {
            return None;
        }
        let count = counts.entry(whose).or_default();
        if *count >= self.most_of_one {
            return None;
        }
        *count += 1;
        let room = Self { counts: Arc::clone(&self.counts), ..*self };
        Some(Place { room, whose })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.room.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_places_for_others_and_all_are_given_back() {
        let room = Room::of(3, 2);
        let one = [room.enter(7).unwrap(), room.enter(7).unwrap()];
        assert!(room.enter(7).is_none(), "one's are taken");
        let other = room.enter(8).unwrap();
        assert!(room.enter(9).is_none(), "it is full");
        drop((one, other));
        assert!(room.counts.lock().unwrap().is_empty());
        assert!(room.enter(7).is_some());
    }
}

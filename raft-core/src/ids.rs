//! Small sets and maps of node ids, sorted: a configuration has a handful of members, and whatever
//! goes through them does so in the same order on every node and in every run.

/// A set of node ids, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdSet(Vec<u64>);

impl IdSet {
    /// The empty set; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether `id` is in it.
    pub fn contains(&self, id: u64) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// Puts `id` in; false if it was there.
    pub fn insert(&mut self, id: u64) -> bool {
        let Err(at) = self.0.binary_search(&id) else { return false };
        self.0.insert(at, id);
        true
    }

    /// Takes `id` out; false if it was not there.
    pub fn remove(&mut self, id: u64) -> bool {
        let Ok(at) = self.0.binary_search(&id) else { return false };
        self.0.remove(at);
        true
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.0.iter().copied()
    }

    /// The ids, ascending.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u64> for IdSet {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let mut ids: Vec<u64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }
}

/// Something for each of a few node ids, in ascending order of the ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap<T>(Vec<(u64, T)>);

impl<T> IdMap<T> {
    /// The empty map; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(key, _)| *key)
    }

    /// What is there for `id`.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.find(id).ok().map(|at| &self.0[at].1)
    }

    /// What is there for `id`, to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.find(id).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether there is something for `id`.
    pub fn contains(&self, id: u64) -> bool {
        self.find(id).is_ok()
    }

    /// Sets what is there for `id`, and gives what was there before.
    pub fn insert(&mut self, id: u64, value: T) -> Option<T> {
        match self.find(id) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (id, value));
                None
            }
        }
    }

    /// Takes out what is there for `id`.
    pub fn remove(&mut self, id: u64) -> Option<T> {
        self.find(id).ok().map(|at| self.0.remove(at).1)
    }

    /// Takes everything out; keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All of it, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &T)> {
        self.0.iter().map(|(id, value)| (*id, value))
    }

    /// All of it, ascending, to be changed.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (u64, &mut T)> {
        self.0.iter_mut().map(|(id, value)| (*id, value))
    }

    /// The ids, ascending.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.0.iter().map(|(id, _)| *id)
    }

    /// The id at a position, in ascending order.
    pub fn id_at(&self, at: usize) -> Option<u64> {
        self.0.get(at).map(|(id, _)| *id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_holds_an_id_once() {
        let mut set: IdSet = [3, 1, 3, 2].into_iter().collect();
        assert_eq!(set.as_slice(), [1, 2, 3]);
        assert!(!set.insert(2));
        assert!(set.insert(0));
        assert!(set.remove(3));
        assert!(!set.remove(3));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(set.contains(0) && !set.contains(3));
    }

    #[test]
    fn a_map_is_sorted_and_an_insert_replaces() {
        let mut map = IdMap::new();
        assert_eq!(map.insert(2, 'b'), None);
        assert_eq!(map.insert(1, 'a'), None);
        assert_eq!(map.insert(2, 'c'), Some('b'));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(1, &'a'), (2, &'c')]);
        assert_eq!(map.remove(1), Some('a'));
        assert_eq!(map.remove(1), None);
        assert_eq!((map.get(1), map.get(2)), (None, Some(&'c')));
    }
}

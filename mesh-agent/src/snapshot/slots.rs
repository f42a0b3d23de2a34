//! A table from slot to value of which every snapshot has its own version, and versions share all but what changed.
//!
//! A tree: a copy of it is one pointer, and to change a value in a copy copies the nodes on the way there, [`WIDTH`] pointers each.
//! With 10,000 clusters that are some 50 pointers whose counts are touched (most of them not in any cache), with 100 some 25; wider
//! nodes make the way shorter and its copies dearer. Reading is a step for each level.

use std::sync::Arc;

const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

/// Values by slot.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    root: Arc<Node<T>>,
    /// Of branches between the root and the leaves.
    height: u32,
}

#[derive(Debug)]
enum Node<T> {
    Leaf([Option<Arc<T>>; WIDTH]),
    Branch([Option<Arc<Node<T>>>; WIDTH]),
}

impl<T> Slots<T> {
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<T>> {
        if index >= self.room() {
            return None;
        }
        let (mut node, mut height) = (&*self.root, self.height);
        loop {
            match node {
                Node::Leaf(values) => return values[index % WIDTH].as_ref(),
                Node::Branch(children) => node = children[step(index, height)].as_deref()?,
            }
            height -= 1;
        }
    }

    /// Puts a value into a slot, or empties it; other versions keep what they have.
    pub(crate) fn set(&mut self, index: usize, value: Option<Arc<T>>) {
        while index >= self.room() {
            let mut children = [const { None }; WIDTH];
            children[0] = Some(Arc::clone(&self.root));
            self.root = Arc::new(Node::Branch(children));
            self.height += 1;
        }
        set(&mut self.root, self.height, index, value);
    }

    /// Every value there is, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        (0..self.room()).filter_map(|index| self.get(index))
    }

    /// One more than the highest slot there is a place for.
    fn room(&self) -> usize {
        WIDTH << (BITS * self.height)
    }

    /// How many values lie in leaves that this version does not share with `other`.
    #[cfg(test)]
    pub(crate) fn copied_since(&self, other: &Self) -> usize {
        fn leaf<T>(slots: &Slots<T>, index: usize) -> Option<*const Node<T>> {
            let (mut node, mut height) = (&slots.root, slots.height);
            while let Node::Branch(children) = &**node {
                node = children[step(index, height)].as_ref()?;
                height -= 1;
            }
            Some(Arc::as_ptr(node))
        }
        let both = self.room().min(other.room());
        (0..both).filter(|index| leaf(self, *index) != leaf(other, *index)).count()
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf([const { None }; WIDTH])), height: 0 }
    }
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), height: self.height }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(values) => Self::Leaf(values.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

/// Sets a value below a node. What other versions hold is copied on the way down, what is this version's alone is changed in place.
fn set<T>(node: &mut Arc<Node<T>>, height: u32, index: usize, value: Option<Arc<T>>) {
    match Arc::make_mut(node) {
        Node::Leaf(values) => values[index % WIDTH] = value,
        Node::Branch(children) => {
            let empty = || match height {
                1 => Arc::new(Node::Leaf([const { None }; WIDTH])),
                _ => Arc::new(Node::Branch([const { None }; WIDTH])),
            };
            set(children[step(index, height)].get_or_insert_with(empty), height - 1, index, value);
        }
    }
}

/// Which child of a node at that height a slot is under.
fn step(index: usize, height: u32) -> usize {
    (index >> (BITS * height)) % WIDTH
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Slots, WIDTH};

    #[test]
    fn versions_share_what_did_not_change() {
        let mut slots = Slots::default();
        for index in 0..1000 {
            slots.set(index, Some(Arc::new(index)));
        }
        let before = slots.clone();
        slots.set(500, Some(Arc::new(7)));
        slots.set(2000, None);
        assert_eq!((before.get(500).map(|it| **it), slots.get(500).map(|it| **it)), (Some(500), Some(7)));
        assert_eq!(slots.copied_since(&before), 2 * WIDTH);
        assert!(slots.get(2000).is_none() && before.get(1_000_000).is_none());
        assert_eq!(slots.iter().count(), 1000);
    }

    #[test]
    fn every_slot_is_its_own() {
        let mut slots = Slots::default();
        // The highest first, so that there are gaps.
        for index in [70_000, 0, 15, 16, 255, 256, 4095, 4096, 65_535, 65_536] {
            assert!(slots.get(index).is_none());
            slots.set(index, Some(Arc::new(index)));
        }
        let found: Vec<_> = slots.iter().map(|value| **value).collect();
        assert_eq!(found, [0, 15, 16, 255, 256, 4095, 4096, 65_535, 65_536, 70_000]);
        slots.set(4096, None);
        assert!(slots.get(4096).is_none() && slots.get(4095).is_some());
    }
}

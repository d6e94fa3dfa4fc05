//! How an item comes, changes its shape or its place, and goes: its cell, the index, the order of eviction and the wheel stay
//! of one mind. It must not know why.

use super::classes::class_of;
use super::heap::Loc;
use super::index::Place;
use super::item::{Fields, Shape, Standing};
use super::{Extra, Key, Shard, UnixMillis};

impl Shard {
    /// Adds an item for which room has been made and whose key is not there: all of it but key and value, which are for the
    /// caller to fill in at once. None when there is no memory for its entry in the index.
    pub(super) fn insert(
        &mut self,
        class: u8,
        shape: Shape,
        key: Key,
        expires_at: Option<UnixMillis>,
        standing: Option<Standing>,
        now: UnixMillis,
    ) -> Option<Loc> {
        let loc = self.heap.alloc(class).expect("room has been made");
        let table = self.databases.table(key.db);
        if !self.databases.insert(table, key.tag(), loc, |loc| self.heap.tag(loc)) {
            self.heap.free(loc);
            return None;
        }
        self.heap.set_shape(loc, shape);
        self.heap.set_tag(loc, key.tag());
        self.heap.begin_use(loc, table, self.order.generation());
        match standing {
            None => self.order.link(&mut self.heap, loc, now),
            Some(standing) => self.order.link_as(&mut self.heap, loc, standing),
        }
        if let Some(at) = expires_at {
            self.start_timer(loc, at, now);
        }
        Some(loc)
    }

    /// Replaces the value of an inline item by one for which a cell of the same class will do.
    pub(super) fn overwrite(
        &mut self,
        loc: Loc,
        shape: Shape,
        (key, value): (Key, &[u8]),
        (expires_at, extra): (Option<UnixMillis>, &Extra),
        now: UnixMillis,
    ) {
        let old = self.heap.shape(loc);
        let shape = shape.marked_as(old);
        self.dataset_bytes = self.dataset_bytes - old.body_len() as u64 + shape.body_len() as u64;
        if old.expires() {
            self.stop_timer(loc);
        }
        if old.fields() == shape.fields() {
            self.heap.set_shape(loc, shape);
            self.heap.set_value(loc, shape, value);
        } else {
            self.set_shape(loc, shape);
            self.heap.set_key_and_value(loc, key.bytes, value);
        }
        if *extra != Extra::NONE {
            self.heap.set_extra(loc, extra);
        }
        if let Some(at) = expires_at {
            self.start_timer(loc, at, now);
        }
        self.note_change(loc);
    }

    /// Gives an item another shape where it lies.
    #[inline(never)]
    pub(super) fn set_shape(&mut self, loc: Loc, shape: Shape) {
        let parts = self.order.view().parts(self.heap.shape(loc), shape);
        if parts {
            self.order.unlink(&mut self.heap, loc);
        }
        self.heap.set_shape(loc, shape);
        if parts {
            self.order.any().link_again(&mut self.heap, loc);
        }
    }

    pub(super) fn start_timer(&mut self, loc: Loc, at: UnixMillis, now: UnixMillis) {
        self.heap.set_expires_at(loc, at);
        self.wheel.link(&mut self.heap, loc, now);
        self.databases.count_expiring(self.heap.table(loc), at);
    }

    pub(super) fn stop_timer(&mut self, loc: Loc) {
        self.wheel.unlink(&mut self.heap, loc);
        let at = self.heap.expires_at(loc).expect("on the wheel is what expires");
        self.databases.discount_expiring(self.heap.table(loc), at);
    }

    pub(super) fn remove(&mut self, loc: Loc) {
        self.note_change(loc);
        let (tag, shape) = (self.heap.tag(loc), self.heap.shape(loc));
        self.order.unlink(&mut self.heap, loc);
        if shape.expires() {
            self.stop_timer(loc);
        }
        let body_bytes = if shape.is_large() {
            let large = self.large.remove(self.heap.large_id(loc));
            large.key.len() + large.value.len()
        } else {
            shape.body_len()
        };
        self.dataset_bytes -= body_bytes as u64;
        let place = self.place_of(loc);
        self.databases.remove(self.heap.table(loc), tag, place, |loc| self.heap.tag(loc));
        self.heap.free(loc);
    }

    pub(super) fn place_of(&self, loc: Loc) -> Place {
        let index = self.databases.index(self.heap.table(loc));
        index.place_of(self.heap.tag(loc), loc).expect("every cell is in the index")
    }

    /// Moves an item to a cell with other fields, off the wheel, and returns the cell. None when no memory is to be had:
    /// then the item is gone.
    pub(super) fn reshape(&mut self, from: Loc, fields: Fields) -> Option<Loc> {
        let old = self.heap.shape(from);
        let shape = old.with_fields(fields);
        let class = class_of(shape.cell_bytes()).expect("inline items leave room for all fields: see `shape_of`");
        if !self.heap.has_room(class) && !self.heap.grow(0) {
            self.remove(from);
            return None;
        }
        let to = self.heap.alloc(class).expect("room has been made");
        if old.expires() {
            self.stop_timer(from);
        }
        self.heap.copy_reshaped(from, to, shape);
        if self.order.view().parts(old, shape) {
            self.order.unlink(&mut self.heap, from);
            self.order.any().link_again(&mut self.heap, to);
        } else {
            self.order.any().follow(&mut self.heap, from, to);
        }
        self.relocate(from, to);
        self.heap.free(from);
        Some(to)
    }

    /// Moves an item to another cell of its class.
    pub(super) fn move_item(&mut self, from: Loc) {
        let to = self.heap.alloc(self.heap.class_at(from)).expect("the class has a hole for it");
        self.heap.copy_cell(from, to);
        self.order.any().follow(&mut self.heap, from, to);
        self.relocate(from, to);
        if self.heap.shape(to).expires() {
            self.wheel.follow(&mut self.heap, to);
        }
        self.heap.free(from);
    }

    /// The item at `from` has been copied to `to`: the index follows.
    pub(super) fn relocate(&mut self, from: Loc, to: Loc) {
        let place = self.place_of(from);
        self.databases.relocate(self.heap.table(to), place, to);
    }
}

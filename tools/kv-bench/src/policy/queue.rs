//! Queues of keys, linked through one array: a key is in one queue at most, and leaves it from anywhere at once.

const NONE: u32 = u32::MAX;

/// What is kept of each key.
#[derive(Clone, Copy)]
pub struct Node {
    before: u32,
    after: u32,
    /// 0 if the key is in no queue.
    pub bytes: u64,
    /// In which of the policy's queues it is; the policy's own numbers.
    pub queue: u8,
    /// How often it was asked for, as far as the policy counts.
    pub uses: u8,
}

/// All keys.
pub struct Nodes(Vec<Node>);

impl Nodes {
    pub fn new(keys: usize) -> Nodes {
        Nodes(vec![Node { before: NONE, after: NONE, bytes: 0, queue: 0, uses: 0 }; keys])
    }

    pub fn holds(&self, key: u32) -> bool {
        self[key].bytes > 0
    }
}

impl std::ops::Index<u32> for Nodes {
    type Output = Node;

    fn index(&self, key: u32) -> &Node {
        &self.0[key as usize]
    }
}

impl std::ops::IndexMut<u32> for Nodes {
    fn index_mut(&mut self, key: u32) -> &mut Node {
        &mut self.0[key as usize]
    }
}

/// One queue: new keys come to the front.
#[derive(Clone)]
pub struct Queue {
    front: u32,
    back: u32,
    pub bytes: u64,
    pub items: u64,
}

impl Queue {
    pub fn new() -> Queue {
        Queue { front: NONE, back: NONE, bytes: 0, items: 0 }
    }

    /// The key at the back, which has been there longest.
    pub fn back(&self) -> Option<u32> {
        (self.back != NONE).then_some(self.back)
    }

    /// The key that came right after `key`.
    pub fn newer(&self, nodes: &Nodes, key: u32) -> Option<u32> {
        Some(nodes[key].before).filter(|newer| *newer != NONE)
    }

    /// Puts a key to the front; it is in no queue, and of more than 0 bytes.
    pub fn push(&mut self, nodes: &mut Nodes, key: u32, bytes: u64) {
        let node = &mut nodes[key];
        (node.before, node.after, node.bytes) = (NONE, self.front, bytes);
        match self.front {
            NONE => self.back = key,
            front => nodes[front].before = key,
        }
        self.front = key;
        self.bytes += bytes;
        self.items += 1;
    }

    /// Takes a key of this queue out; returns its bytes.
    pub fn take(&mut self, nodes: &mut Nodes, key: u32) -> u64 {
        let Node { before, after, bytes, .. } = nodes[key];
        match before {
            NONE => self.front = after,
            before => nodes[before].after = after,
        }
        match after {
            NONE => self.back = before,
            after => nodes[after].before = before,
        }
        nodes[key].bytes = 0;
        self.bytes -= bytes;
        self.items -= 1;
        bytes
    }
}

/// Keys that have left lately, in the order in which they left. They hold no value.
pub struct Ghosts {
    left: std::collections::VecDeque<(u32, u64)>,
    /// When each key left last; 0 if it is no ghost.
    departure: Vec<u64>,
    departures: u64,
    living: u64,
    bytes: u64,
}

impl Ghosts {
    pub fn new(keys: usize) -> Ghosts {
        Ghosts { left: Default::default(), departure: vec![0; keys], departures: 0, living: 0, bytes: 0 }
    }

    /// Remembers a key, and forgets the oldest as long as `too_many(ghosts, bytes)` says so.
    pub fn add(&mut self, key: u32, bytes: u64, too_many: impl Fn(u64, u64) -> bool) {
        self.departures += 1;
        self.departure[key as usize] = self.departures;
        self.left.push_back((key, self.departures << 24 | bytes.min((1 << 24) - 1)));
        self.living += 1;
        self.bytes += bytes.min((1 << 24) - 1);
        while too_many(self.living, self.bytes)
            && let Some((key, departure)) = self.left.pop_front()
        {
            if self.departure[key as usize] == departure >> 24 {
                self.forget(key, departure & ((1 << 24) - 1));
            }
        }
    }

    /// Whether a key has left lately; if so it is forgotten.
    pub fn take(&mut self, key: u32) -> bool {
        let departure = self.departure[key as usize];
        if departure == 0 {
            return false;
        }
        // Its place in the queue is left empty, and skipped when it comes up.
        let at = self.left.partition_point(|(_, other)| other >> 24 < departure);
        self.forget(key, self.left[at].1 & ((1 << 24) - 1));
        true
    }

    fn forget(&mut self, key: u32, bytes: u64) {
        self.departure[key as usize] = 0;
        self.living -= 1;
        self.bytes -= bytes;
    }
}

//! Values that are no longer held but take long to free, until somebody has the time. It must not know why they went.

use super::large::LargeItems;
use bytes::Bytes;

/// From here on a value is not freed where it is removed: 64 MiB take the kernel 5 ms, 1 MiB less than 0.1 ms.
const SLOW_TO_FREE_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub struct Garbage(Vec<Bytes>);

impl Garbage {
    /// Frees a value, now or later.
    pub fn add(&mut self, value: Bytes) {
        if value.len() >= SLOW_TO_FREE_BYTES {
            self.0.push(value);
        }
    }

    pub fn take(&mut self) -> Option<Bytes> {
        self.0.pop()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|value| LargeItems::cost(0, value.len())).sum()
    }
}

//! The process's allocator: jemalloc, and behind it a small reserve for when the kernel refuses more memory. It must not
//! know who asks.
//!
//! What may be large (values, tables, requests) asks in a way that can fail and is answered with an error. All else, a
//! list that grows or a line of a reply, cannot fail and would end the process: it is served from the reserve. From then
//! on memory is *short*: whoever would make the server hold more asks `is_short` and refuses, until the kernel gives again.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tikv_jemallocator::Jemalloc;

/// What is kept for allocations that cannot fail, ...
const RESERVE_BYTES: usize = 16 * 1024 * 1024;
/// ... and the largest of these: what may be larger is asked for in a way that can fail.
const RESERVE_REQUEST_MAX_BYTES: usize = 1024 * 1024;

/// jemalloc: of it, mimalloc and glibc's malloc the one that keeps the memory cap with values of a megabyte, for freed
/// memory goes back to the kernel at once. (`tests/it/memory_cap.rs`; mimalloc held 1.6 times the cap at the peak.)
pub struct Allocator;

/// True from when the reserve was needed until the kernel gives memory again.
#[inline]
pub fn is_short() -> bool {
    IS_SHORT.load(Relaxed)
}

/// Looks whether the kernel gives memory again; for whoever does so now and then.
pub fn recover() {
    if is_short() {
        let layout = Layout::new::<[u8; PROBE_BYTES]>();
        // SAFETY: the layout has a size, and what was allocated by it is freed by it.
        unsafe {
            let probe = Jemalloc.alloc(layout);
            if !probe.is_null() {
                Jemalloc.dealloc(probe, layout);
                IS_SHORT.store(false, Relaxed);
            }
        }
    }
}

/// Memory is to be had again when this much is to be had.
const PROBE_BYTES: usize = 4 * RESERVE_REQUEST_MAX_BYTES;

static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// Untouched, so without memory behind it, until it is needed.
struct Region(UnsafeCell<[MaybeUninit<u8>; RESERVE_BYTES]>);

// SAFETY: its bytes are reached through `FREE`'s lock, or by whoever they were handed out to.
unsafe impl Sync for Region {}

static REGION: Region = Region(UnsafeCell::new([MaybeUninit::uninit(); RESERVE_BYTES]));

type Free = rlsf::Tlsf<'static, u32, u32, 20, 16>;

/// What of the region is free; none until it is needed. A lock of std's: it allocates nothing.
static FREE: Mutex<Option<Free>> = Mutex::new(None);

fn with_reserve<T>(act: impl FnOnce(&mut Free) -> T) -> T {
    let mut free = FREE.lock().expect("nothing panics while it is held");
    let free = free.get_or_insert_with(|| {
        let mut free = Free::new();
        // SAFETY: nobody else has the region: this happens once.
        free.insert_free_block(unsafe { &mut *REGION.0.get() });
        free
    });
    act(free)
}

fn is_reserved(address: *mut u8) -> bool {
    (address as usize).wrapping_sub(REGION.0.get() as usize) < RESERVE_BYTES
}

/// For a request that the kernel refuses.
#[cold]
fn run_short(layout: Layout) -> *mut u8 {
    let block = allocate_reserved(layout);
    IS_SHORT.fetch_or(!block.is_null(), Relaxed);
    block
}

fn allocate_reserved(layout: Layout) -> *mut u8 {
    if layout.size() > RESERVE_REQUEST_MAX_BYTES {
        return ptr::null_mut();
    }
    with_reserve(|free| free.allocate(layout)).map_or(ptr::null_mut(), NonNull::as_ptr)
}

// SAFETY: what `GlobalAlloc::dealloc` asks of the caller; and the block is of the reserve.
#[cold]
unsafe fn free_reserved(address: *mut u8, layout: Layout) {
    let address = NonNull::new(address).expect("an address of the reserve is none of nothing");
    // SAFETY: `allocate_reserved` has handed it out with this alignment.
    with_reserve(|free| unsafe { free.deallocate(address, layout.align()) });
}

// SAFETY: each block is jemalloc's or the reserve's, as its address says, and goes back to where it came from with the
// layout it came by. Nothing here panics but on a broken lock, which nothing breaks.
unsafe impl GlobalAlloc for Allocator {
    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are jemalloc's conditions.
        let block = unsafe { Jemalloc.alloc(layout) };
        if block.is_null() { run_short(layout) } else { block }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; of the reserve as many bytes are ours as were asked for.
        unsafe {
            let mut block = Jemalloc.alloc_zeroed(layout);
            if block.is_null() {
                block = run_short(layout);
                if !block.is_null() {
                    block.write_bytes(0, layout.size());
                }
            }
            block
        }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, by where the block came from.
        unsafe { if is_reserved(block) { free_reserved(block, layout) } else { Jemalloc.dealloc(block, layout) } }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promises, by where the block came from; the new layout is valid because they say so.
        unsafe {
            if !is_reserved(block) {
                let grown = Jemalloc.realloc(block, layout, bytes);
                if !grown.is_null() {
                    return grown;
                }
            }
            move_block(block, layout, bytes)
        }
    }
}

/// Moves a block of the reserve, or for which jemalloc has no more memory.
// SAFETY: what `GlobalAlloc::realloc` asks of the caller.
#[cold]
unsafe fn move_block(block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promises; old and new block do not overlap, and both have as many bytes as are copied.
    unsafe {
        let moved = Allocator.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, bytes.min(layout.size()));
            Allocator.dealloc(block, layout);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_the_reserve_do_not_overlap_and_grow_out_of_it_and_come_back() {
        let layout = |bytes| Layout::from_size_align(bytes, 16).unwrap();
        for _ in 0..3 {
            let mut blocks = Vec::new();
            loop {
                let bytes = 1000 + blocks.len() * 10;
                let block = allocate_reserved(layout(bytes));
                if block.is_null() {
                    break;
                }
                // SAFETY: as many bytes as were asked for.
                unsafe { block.write_bytes(blocks.len() as u8, bytes) };
                blocks.push((block, bytes));
            }
            assert!(blocks.len() > 500);
            for (number, (block, bytes)) in blocks.into_iter().enumerate() {
                assert!(is_reserved(block));
                // SAFETY: allocated above, and freed once.
                unsafe {
                    let grown = Allocator.realloc(block, layout(bytes), 2 * bytes);
                    assert!(!is_reserved(grown));
                    let kept = std::slice::from_raw_parts(grown, bytes);
                    assert!(kept.iter().all(|&byte| byte == number as u8));
                    Allocator.dealloc(grown, layout(2 * bytes));
                }
            }
        }
        assert!(allocate_reserved(layout(RESERVE_REQUEST_MAX_BYTES + 1)).is_null());
    }
}

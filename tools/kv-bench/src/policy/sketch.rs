//! How often keys were asked for lately, as TinyLFU counts it: a count-min sketch of four rows whose counters end at 15,
//! halved from time to time (Einziger, Friedman and Manes, "TinyLFU", ACM TOS 2017).

pub struct Sketch {
    rows: [Vec<u8>; 4],
    mask: usize,
    counted: u64,
    /// All counters are halved after so many.
    sample: u64,
}

const SEEDS: [u64; 4] = [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f, 0xcbf2_9ce4_8422_2325];

impl Sketch {
    /// For a cache of about so many items.
    pub fn new(items: u64) -> Sketch {
        let width = (items.max(64) as usize).next_power_of_two();
        Sketch { rows: std::array::from_fn(|_| vec![0; width]), mask: width - 1, counted: 0, sample: 10 * width as u64 }
    }

    pub fn count(&mut self, key: u32) {
        for (row, seed) in SEEDS.iter().enumerate() {
            let counter = &mut self.rows[row][place(key, *seed) & self.mask];
            *counter = (*counter + 1).min(15);
        }
        self.counted += 1;
        if self.counted >= self.sample {
            self.counted /= 2;
            self.rows.iter_mut().flatten().for_each(|counter| *counter /= 2);
        }
    }

    pub fn of(&self, key: u32) -> u64 {
        let counters = SEEDS.iter().enumerate().map(|(row, seed)| self.rows[row][place(key, *seed) & self.mask]);
        counters.min().unwrap_or(0).into()
    }
}

fn place(key: u32, seed: u64) -> usize {
    let product = (u64::from(key) + 1).wrapping_mul(seed);
    (product ^ product >> 32) as usize
}

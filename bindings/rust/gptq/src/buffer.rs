//! Bytes that the library hands out.
use crate::error::{check, Result};
use gptq_sys as sys;
use std::ptr::null_mut;
use std::slice;

/// Freed on drop.
pub(crate) struct Buffer(*mut sys::gptq_buffer);

impl Buffer {
    /// What `call` puts into its output argument.
    pub fn filled_by(call: impl FnOnce(*mut *mut sys::gptq_buffer) -> sys::gptq_status) -> Result<Self> {
        let mut buffer = null_mut();
        check(call(&mut buffer))?;
        Ok(Buffer(buffer))
    }

    /// Elements of a type that the buffer is documented to hold, any bits of which are a value.
    fn elements<T: Copy>(&self) -> &[T] {
        // SAFETY: the buffer holds that many bytes, aligned for text, ids and floats, until it is freed.
        unsafe {
            let size = sys::gptq_buffer_size(self.0) as usize;
            let data = sys::gptq_buffer_data(self.0).cast::<T>();
            if size == 0 || data.is_null() {
                return &[];
            }
            slice::from_raw_parts(data, size / std::mem::size_of::<T>())
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.elements::<u8>()).into_owned()
    }

    pub fn ids(&self) -> &[i32] {
        self.elements()
    }

    pub fn floats(&self) -> &[f32] {
        self.elements()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        unsafe { sys::gptq_buffer_free(self.0) }
    }
}

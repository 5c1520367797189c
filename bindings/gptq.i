// The one description of gptq.h for every language. SWIG makes the raw layers of Go, C# and Java from it: flat functions of
// the names in gptq.h, internal to the layers by hand beside them. Its XML output is what rust/generate_sys.py reads.
//
// One rule per kind of argument, none per function:
//   handle                  Go unsafe.Pointer   C# IntPtr            Java long
//   result by pointer       Go *T               C# out T             Java T[1]
//   const char *text, *json UTF-8 bytes whose length is the next argument: Go *byte, C# byte[], Java byte[]
//   other const char *      a string without NUL: string in all three
//   const int32_t *ids      their count is the next argument: Go *int32, C# int[], Java int[]
//   array of handles        their count is the next argument: Go *unsafe.Pointer, C# IntPtr[], Java long[]
//   gptq_status *statuses   an array that the call fills, as many as the handles: Go *int32, C# int[], Java int[]
//   const char * returned   string
//   gptq_buffer_data()      Go unsafe.Pointer, C# IntPtr, Java a ByteBuffer over the memory: to be copied before the free
// Callbacks stay out: progress is asked for with gptq_quantizer_get_stat(), and a generation is pulled.
%module GptqApi
%{
#include <gptq.h>
%}
%include <stdint.i>

#ifndef SWIGXML
%ignore gptq_options_set_progress;
%ignore gptq_options_set_executor;
%ignore gptq_set_log_callback;
#endif

// ---- Go --------------------------------------------------------------------------------------------------------------
#ifdef SWIGGO
%insert(cgo_comment_typedefs) %{
#cgo pkg-config: gptq
_Static_assert(sizeof(void *) == 8, "the strings below are those of a Go whose int has 64 bits");
%}

%typemap(gotype) gptq_status, int32_t "int32"
%typemap(gotype) int32_t * "*int32"
%typemap(gotype) int64_t * "*int64"
%typemap(gotype) double * "*float64"
%typemap(gotype) const int32_t *ids "*int32"
%typemap(gotype) const void * "unsafe.Pointer"
%typemap(gotype) const char *text, const char *json "*byte"
%typemap(in) const char *text, const char *json %{ $1 = (char *)$input; %}
%typemap(freearg) const char *text, const char *json ""
%typemap(gotype) const char **out "*unsafe.Pointer"
%typemap(out) const char *gptq_session_text %{
  $result = Swig_AllocateString((char *)$1, (size_t)gptq_session_text_size(arg1));
%}

%define GPTQ_HANDLE(T)
%typemap(gotype) T *, const T * "unsafe.Pointer"
%typemap(gotype) T **out, T **out_json, T **out_ids, T **out_text, T *const * "*unsafe.Pointer"
%enddef
#endif

// ---- C# --------------------------------------------------------------------------------------------------------------
#ifdef SWIGCSHARP
%pragma(csharp) moduleclassmodifiers="internal static class"
%pragma(csharp) imclassclassmodifiers="internal static class"
%csconst(1);

%typemap(ctype) const char * "const char *"
%typemap(imtype) const char * "byte[]"
%typemap(cstype) const char * "string"
%typemap(csin) const char * "Utf8.Terminated($csinput)"
%typemap(in) const char * %{ $1 = (char *)$input; %}
%typemap(imtype, out="global::System.IntPtr") const char * "byte[]"
%typemap(out) const char * %{ $result = (char *)$1; %}
%typemap(csout, excode=SWIGEXCODE) const char * { return Utf8.Read($imcall); }
%typemap(cstype, out="string") const char *text, const char *json "byte[]"
%typemap(csin) const char *text, const char *json "$csinput"
%typemap(csout, excode=SWIGEXCODE) const char *gptq_session_text {
    return Utf8.Read($imcall, gptq_session_text_size(session));
  }

%define GPTQ_POINTER(T, CS)
%typemap(ctype) T "void *"
%typemap(imtype) T "CS"
%typemap(cstype) T "CS"
%typemap(csin) T "$csinput"
%typemap(in) T %{ $1 = ($1_ltype)$input; %}
%typemap(out) T %{ $result = (void *)$1; %}
%typemap(csout, excode=SWIGEXCODE) T { return $imcall; }
%enddef
%define GPTQ_RESULT(T, CS)
%typemap(ctype) T "void *"
%typemap(imtype) T "out CS"
%typemap(cstype) T "out CS"
%typemap(csin) T "out $csinput"
%typemap(in) T %{ $1 = ($1_ltype)$input; %}
%enddef
GPTQ_POINTER(const int32_t *ids, int[])
GPTQ_POINTER(gptq_status *statuses, int[])
%typemap(imtype, inattributes="[global::System.Runtime.InteropServices.Out]") gptq_status *statuses "int[]"
GPTQ_POINTER(const void *, global::System.IntPtr)
GPTQ_RESULT(int32_t *, int)
GPTQ_RESULT(int64_t *, long)
GPTQ_RESULT(double *, double)
GPTQ_RESULT(const char **out, global::System.IntPtr)

%define GPTQ_HANDLE(T)
GPTQ_POINTER(T *, global::System.IntPtr)
GPTQ_POINTER(const T *, global::System.IntPtr)
GPTQ_POINTER(T *const *, global::System.IntPtr[])
GPTQ_RESULT(T **, global::System.IntPtr)
%enddef
#endif

// ---- Java ------------------------------------------------------------------------------------------------------------
#ifdef SWIGJAVA
%pragma(java) moduleclassmodifiers="final class"
%pragma(java) jniclassclassmodifiers="final class"
%pragma(java) jniclasscode=%{
  static { NativeLibrary.load(); }
%}
%javaconst(1);

// A result lands in element 0 of an array that the caller brings.
%define GPTQ_RESULT(T, VALUE, JTYPE, JNI, ARRAY, ELEMENT, JELEMENT)
%typemap(jni) T "ARRAY"
%typemap(jtype) T "JTYPE"
%typemap(jstype) T "JTYPE"
%typemap(in) T (VALUE value) %{ value = 0; $1 = &value; %}
%typemap(argout) T %{
  {
    ELEMENT element = (JELEMENT)value$argnum;
    (*jenv)->Set##JNI##ArrayRegion(jenv, $input, 0, 1, &element);
  }
%}
%typemap(javain) T "$javainput"
%enddef
GPTQ_RESULT(int32_t *, int32_t, int[], Int, jintArray, jint, jint)
GPTQ_RESULT(int64_t *, int64_t, long[], Long, jlongArray, jlong, jlong)
GPTQ_RESULT(double *, double, double[], Double, jdoubleArray, jdouble, jdouble)

// Arrays come as the caller's: read whole, given back unchanged (JNI_ABORT) or as the call has left them (0). NULL stays NULL.
%define GPTQ_ARRAY(T, ELEMENT, JNI, ARRAY, JTYPE, JAVAIN, BACK)
%typemap(jni) T "ARRAY"
%typemap(jtype) T "JTYPE"
%typemap(in) T %{
  $1 = NULL;
  if ($input) {
    $1 = ($1_ltype)(*jenv)->Get##JNI##ArrayElements(jenv, $input, NULL);
    if (!$1) {
      $cleanup
      return $null;
    }
  }
%}
%typemap(freearg) T %{ if ($1) (*jenv)->Release##JNI##ArrayElements(jenv, $input, (ELEMENT *)$1, BACK); %}
%typemap(argout) T ""
%typemap(javain) T "JAVAIN"
%enddef
GPTQ_ARRAY(const char *, jbyte, Byte, jbyteArray, byte[], Utf8.terminated($javainput), JNI_ABORT)
GPTQ_ARRAY(const char *text, jbyte, Byte, jbyteArray, byte[], $javainput, JNI_ABORT)
GPTQ_ARRAY(const char *json, jbyte, Byte, jbyteArray, byte[], $javainput, JNI_ABORT)
GPTQ_ARRAY(const int32_t *ids, jint, Int, jintArray, int[], $javainput, JNI_ABORT)
GPTQ_ARRAY(gptq_status *statuses, jint, Int, jintArray, int[], $javainput, 0)
%typemap(jstype) const char * "String"
%typemap(jstype, out="String") const char *text, const char *json "byte[]"
%typemap(jstype) const int32_t *ids, gptq_status *statuses "int[]"

%{
_Static_assert(sizeof(void *) == sizeof(jlong), "an array of handles is passed as it is");

static jbyteArray gptq_java_bytes(JNIEnv *jenv, const char *text, int64_t size) {
  jbyteArray bytes = text ? (*jenv)->NewByteArray(jenv, (jsize)size) : NULL;
  if (bytes) (*jenv)->SetByteArrayRegion(jenv, bytes, 0, (jsize)size, (const jbyte *)text);
  return bytes;
}
%}
%typemap(out) const char * %{ $result = gptq_java_bytes(jenv, $1, $1 ? (int64_t)strlen($1) : 0); %}
%typemap(out) const char *gptq_session_text %{ $result = gptq_java_bytes(jenv, $1, gptq_session_text_size(arg1)); %}
%typemap(javaout) const char * { return Utf8.read($jnicall); }

%typemap(jni) const void * "jobject"
%typemap(jtype) const void * "java.nio.ByteBuffer"
%typemap(jstype) const void * "java.nio.ByteBuffer"
%typemap(out) const void *gptq_buffer_data %{
  $result = $1 ? (*jenv)->NewDirectByteBuffer(jenv, (void *)$1, gptq_buffer_size(arg1)) : NULL;
%}
%typemap(javaout) const void * { return $jnicall; }

%typemap(jni) const char **out "jobjectArray"
%typemap(jtype) const char **out "byte[][]"
%typemap(jstype) const char **out "byte[][]"
%typemap(javain) const char **out "$javainput"
%typemap(in) const char **out (const char *value) %{ value = NULL; $1 = (char **)&value; %}
%typemap(argout) const char **out %{
  if (value$argnum) {
    jbyteArray bytes = gptq_java_bytes(jenv, value$argnum, (int64_t)strlen(value$argnum));
    if (bytes) (*jenv)->SetObjectArrayElement(jenv, $input, 0, bytes);
  }
%}

%define GPTQ_HANDLE(T)
%typemap(jni) T *, const T * "jlong"
%typemap(jtype) T *, const T * "long"
%typemap(jstype) T *, const T * "long"
%typemap(in) T *, const T * %{ $1 = ($1_ltype)(intptr_t)$input; %}
%typemap(javain) T *, const T * "$javainput"
GPTQ_RESULT(T **, T *, long[], Long, jlongArray, jlong, intptr_t)
GPTQ_ARRAY(T *const *, jlong, Long, jlongArray, long[], $javainput, JNI_ABORT)
%typemap(jstype) T *const * "long[]"
%enddef
#endif

#ifndef SWIGXML
GPTQ_HANDLE(gptq_options)
GPTQ_HANDLE(gptq_buffer)
GPTQ_HANDLE(gptq_model)
GPTQ_HANDLE(gptq_session)
GPTQ_HANDLE(gptq_quantizer)
#endif

%include "gptq.h"

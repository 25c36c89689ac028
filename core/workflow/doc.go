// Package workflow knows how the operations of an agenda hang together: the references in their payloads, what those are
// replaced by, and the graph of what waits for what. The server validates with it and the executor runs by it.
//
// # References
//
// Any string value of a payload, at any depth, may hold references. Keys of objects are never looked at. A reference is
//
//	@<name>
//	@<name::pointer>
//	@<name::pointer?fallback>
//	@<name::pointer??json>
//
// The name runs to the first :: or >, the pointer to the first ? or >, and the fallback to the first >.
//
//   - A name is the name of an operation followed by .out, which stands for its result, or one of [AgendaID],
//     [OperationName], [Params] and [Failures].
//   - A pointer is a JSON pointer as in RFC 6901 (~1 for a slash, ~0 for a tilde). A missing leading slash is added. No
//     pointer, an empty one and a lone slash are the whole value.
//   - A fallback takes the place of a value that the pointer does not find, and of the result of an operation that has not
//     succeeded. It is a string, or null if there is nothing after the question mark. After two question marks it is JSON of any
//     type. It does not stand in for an operation that does not exist.
//
// A string that is one reference and nothing else is replaced by the value itself, whatever its type. In any other string
// each reference is replaced by the text of its value: strings as they are, numbers digit by digit as they were written,
// true, false and null by those words. Objects and arrays have no text and are an error there.
//
// What has been put in is never looked at again, so a result may hold any text. To write a literal @< in a payload, double
// the angle bracket: @<< stands for @<.
//
// The package is pure. It imports the standard library only, and in particular not core/model, which builds on it.
package workflow

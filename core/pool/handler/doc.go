// Package handler makes a Go program a handler of operations:
//
//	func main() {
//		handler.Run(func(ctx context.Context, t *handler.Task) (any, error) {
//			var in struct{ Name string }
//			if err := t.Decode(&in); err != nil {
//				return nil, err
//			}
//			t.Progress(50, "thinking of "+in.Name)
//			return map[string]string{"greeting": "Hello " + in.Name}, nil
//		})
//	}
//
// It speaks the contract of core/pool/process, and imports the standard library only.
package handler

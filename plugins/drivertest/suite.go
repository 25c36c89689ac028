package drivertest

import (
	"context"
	"testing"

	"go.uber.org/goleak"
)

// clause is a clause of the contract and the test of it, on a driver that nothing else uses.
type clause[T any] struct {
	name  string
	check func(T)
}

// suite is all that the contract says about one kind of driver.
type suite[T tested] struct {
	name    string
	clauses []clause[T]
	use     func(T) // calls that may start goroutines
}

// tested is one test of a driver.
type tested interface {
	driver() closer // the one that is open now
	prepare()       // a driver that has just been opened
}

type closer interface {
	Close(ctx context.Context) error
}

// noGoroutine is the clause that has to be tested alone.
const noGoroutine = "Close leaves no goroutine"

// run tests each clause.
func (s suite[T]) run(t *testing.T, open func(*testing.T) T) {
	t.Run(s.name, func(t *testing.T) {
		t.Run("contract", func(t *testing.T) {
			for _, c := range s.clauses {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.check(begin(t, open(t)))
				})
			}
		})
		t.Run(noGoroutine, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Run("use", func(t *testing.T) {
				d := begin(t, open(t))
				s.use(d)
				if err := d.driver().Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			goleak.VerifyNone(t, before)
		})
	})
}

// names returns the clauses as they are called.
func (s suite[T]) names() []string {
	names := make([]string, 0, len(s.clauses)+1)
	for _, c := range s.clauses {
		names = append(names, c.name)
	}
	return append(names, noGoroutine)
}

// begin prepares a driver that was opened for a test, and closes it when the test ends.
func begin[T tested](t *testing.T, d T) T {
	t.Helper()
	t.Cleanup(func() {
		if err := d.driver().Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	d.prepare()
	return d
}

// Clauses returns what [RunStore], [RunQueue] and [RunAuthorizer] test, by the names of their subtests: "store", "queue" and
// "authorizer".
func Clauses() map[string][]string {
	return map[string][]string{
		storeSuite.name: storeSuite.names(), queueSuite.name: queueSuite.names(), authorizerSuite.name: authorizerSuite.names(),
	}
}

// Package soak kills the real program at random moments, for as long as it takes to believe that nothing is lost: server and
// puller in one, and apart with a network between them that fails. Longer than in continuous integration:
//
//	go test ./cmd/internal/soak -run Whatever -v -chaos 3m -agendas 3000 -timeout 20m
//
// It holds nothing but tests.
package soak

package node

import (
	"crypto/rand"

	"github.com/pop-platform/pop/providers/local"
)

// NewToken returns a random token, and its hash as the file of tokens wants it.
func NewToken() (token, hash string) {
	token = rand.Text() + rand.Text() // more than 256 random bits
	return token, local.HashToken(token)
}

// Package docstest keeps the documentation true: its tests read every Markdown file of the repository and hold what it says against
// the code. It has no code but tests.
package docstest

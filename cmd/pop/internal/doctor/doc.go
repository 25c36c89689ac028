// Package doctor looks for what may keep POP from working and says how to mend it. It changes nothing.
package doctor

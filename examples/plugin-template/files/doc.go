// Package files is a driver.Store of one file for each record. It is small enough to read in one sitting and keeps the whole
// contract, at the price that it keeps all keys in memory and reads all files when it is opened.
//
// It imports plugins/driver and small libraries, and must not import the rest of POP.
package files

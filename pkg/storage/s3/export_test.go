package s3

import "time"

// CopyInParts has promote copy what is larger than largest in parts of that size: the
// service's limit is 5 GiB.
func CopyInParts(b *Backend, largest int64) { b.maxCopy, b.copyPart = largest, largest }

// ListUploads has unfinished uploads listed so many at a time.
func ListUploads(b *Backend, most int32) { b.maxUploads = most }

// AskAgain lets the time pass after which it is asked again whether the server checks CRC-32C.
func AskAgain(b *Backend) { b.checks.again = time.Time{} }

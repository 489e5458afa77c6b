package s3

import "time"

// CopyInParts makes promote copy blobs larger than largest in parts of that size; the
// service's limit is 5 GiB.
func CopyInParts(b *Backend, largest int64) { b.maxCopy, b.copyPart = largest, largest }

// ListUploads limits the page size when listing unfinished uploads.
func ListUploads(b *Backend, most int32) { b.maxUploads = most }

// AskAgain lets the time pass after which the driver asks again whether the server verifies CRC-32C.
func AskAgain(b *Backend) { b.checks.again = time.Time{} }

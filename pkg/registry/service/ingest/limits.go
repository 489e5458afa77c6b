package ingest

// What publishing takes of the process's memory. A draft is a session's files as
// rows, its manifest, and the event with the manifest in it; of these two are in
// memory at a time, and the database has its own copy while it is appended.
const (
	// draftFile is what the manifest has of a file beside its texts, in bytes, and
	// draftTimes how many times the manifest a draft weighs.
	draftFile = 130
	// leastFile is the least that a manifest has of a file beside its texts.
	leastFile  = 100
	draftTimes = 3
	// parsedTimes is how many times as much a draft weighs whose manifest is parsed: its
	// files are in memory, and what finds each content once.
	parsedTimes = 3
	// largeDrafts and smallDrafts are what all of them may weigh at a time. The
	// largest takes all of its pool. Small are those of up to about 2,000 files.
	largeDrafts = 48 << 20
	smallDrafts = 8 << 20
	smallDraft  = 1 << 20
)

const (
	// smallFile is the largest file of a bundle that is held in a window; larger ones are streamed.
	smallFile = 256 << 10
	// windowConcurrency is how many files of one window are stored at a time.
	windowConcurrency = 8
)

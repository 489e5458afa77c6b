package ingest

import "time"

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
	// largeDrafts and smallDrafts are what all of them may weigh at a time. The
	// largest takes all of its pool. Small are those of up to about 2,000 files.
	largeDrafts = 48 << 20
	smallDrafts = 8 << 20
	smallDraft  = 1 << 20
)

// What bundles take of it.
const (
	// windowBytes of small files are taken from a bundle before they are stored together.
	windowBytes = 4 << 20
	// smallFile is the largest file that is held in a window; larger ones are streamed.
	smallFile = 256 << 10
	// maxWindows bounds the memory of all bundles of the process (32 MiB): further
	// bundles wait.
	maxWindows = 8
	// keptWindows are not given back to the process while no bundle has them.
	keptWindows = 1
	// chunkBytes are every bundle's own, and firstBytes of a file must be here
	// before it asks for a window: what it sends next is then on its way.
	chunkBytes = 16 << 10
	firstBytes = 4 << 10
	// windowTick is how often a bundle that has a window is looked at. One that
	// moved fewer bytes than leastMoved since has a source that pauses; after
	// ticksToLose of these in a row it loses its window, if others wait.
	windowTick  = time.Second
	leastMoved  = 4 << 10
	ticksToLose = 5
	// starvedMoved is what it must move while a holder waits who has no window at
	// all: a file then takes 8 s at most, and after ticksToLose its end gives the window back.
	starvedMoved = 32 << 10
)

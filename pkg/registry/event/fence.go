package event

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/manifest"
)

// form is a way in which something is written into the log: a kind of event
// or, as formManifest, the manifest inside one, and its version.
type form struct {
	kind    string
	version int
}

// formViews stands for the tables that are folded from the log, by their version: a
// replica that would fold into them as it did before must not append.
const formViews = "views"

// formManifest stands for the manifests in PackagePublished, by their schemaVersion.
const formManifest = "manifest"

// levels is the fence. A program that knows all forms of a level, and of those
// below, may append beside one that writes them. The first record of a form
// raises the log's fence to its level, and ends the appends of replicas that
// know less; see package eventlog.
//
// A new kind, a new version of a payload or of the manifest gets a row here
// with the next level. Those that are released together may share one. A row
// never changes: logs have its level.
var levels = map[form]int{
	{KindBackendRegistered, 1}: 0,
	{KindBackendAbandoned, 1}:  0,
	{KindPackagePublished, 1}:  0,
	{KindLocationAdded, 1}:     0,
	{KindLocationVerified, 1}:  0,
	{KindLocationVerified, 2}:  1, // a run in one record
	{KindLocationFailed, 1}:    0,
	{formManifest, 1}:          0,
	{KindLogRecovered, 1}:      1,
	{formViews, 3}:             LevelCounted,
	{KindTagSet, 1}:            3,
	{KindTagRemoved, 1}:        3,
	{formManifest, 2}:          3, // links, folders and modes
}

// LevelCounted is that of the views which count locations (see package view).
const LevelCounted = 2

// Level is the highest that this program knows.
var Level = func() int {
	highest := 0
	for _, level := range levels {
		highest = max(highest, level)
	}
	return highest
}()

// versioned is a payload of which there is more than one version; else it is 1.
type versioned interface {
	// Version of the form in which this value is written.
	Version() int
}

// levelOf returns the fence level of a payload. A form without a row is an error: it cannot be appended.
func levelOf(p Payload) (int, error) {
	forms := []form{{p.Kind(), 1}}
	if v, ok := p.(versioned); ok {
		forms[0].version = v.Version()
	}
	if published, ok := p.(PackagePublished); ok {
		version, err := manifest.VersionOf(published.Manifest)
		if err != nil {
			return 0, err
		}
		forms = append(forms, form{formManifest, version})
	}
	highest := 0
	for _, f := range forms {
		level, known := levels[f]
		if !known {
			return 0, fmt.Errorf("%w: %s, version %d, has no fence level", ErrUnknown, f.kind, f.version)
		}
		highest = max(highest, level)
	}
	return highest, nil
}

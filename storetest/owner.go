package storetest

var ownerRules, ownerLoadRules []rule

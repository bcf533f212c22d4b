package storetest

var updateRules []rule

"""How weights become archive sections: one module a codec."""

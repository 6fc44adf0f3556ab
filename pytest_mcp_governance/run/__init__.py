"""WHAT BECOMES OF A RUN: opened, recorded, closed, rendered, signed. Composes the packages; owns no format."""

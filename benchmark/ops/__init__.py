"""Operations that several models compute alike, each with a slow and obvious reference."""

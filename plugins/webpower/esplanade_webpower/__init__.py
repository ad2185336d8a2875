"""Esplanade connector for Webpower, now Spotler MailPro."""
